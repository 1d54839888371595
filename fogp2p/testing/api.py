"""For people who test programs against the local API: a peer that only answers, and direct calls.

Not imported by `fogp2p.testing` itself: it brings the web framework along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import trio
from starlette.types import ASGIApp, Message

from fogp2p.api import Context
from fogp2p.api.app import make_app
from fogp2p.api.front import Front
from fogp2p.api.gate import Door
from fogp2p.api.routes import all_operations
from fogp2p.config import Config, Loaded
from fogp2p.environment import Environment
from fogp2p.errors import DeadlineExceeded, Unreachable
from fogp2p.eventlog import EventLog
from fogp2p.host import ConnectionInfo
from fogp2p.ids import PeerId, Version
from fogp2p.node import NodeStatus, PeerStatus
from fogp2p.node.health import count, health_of, reasons_of
from fogp2p.protocols.blob import Blobs
from fogp2p.protocols.echo import EchoResult
from fogp2p.protocols.gossip import GossipStats
from fogp2p.protocols.invite import Invites
from fogp2p.protocols.log import Logs
from fogp2p.protocols.registry import Registry
from fogp2p.store import Store
from fogp2p.supervisor import GroupStatus, ServiceDown, ServiceStatus, State

__all__ = ["Answer", "Doors", "StandInNode", "ask"]

ADA = PeerId.from_ed25519(bytes(32))


def _service(name: str) -> ServiceStatus:
    return ServiceStatus(
        name=name,
        group="",
        state=State.READY,
        essential=name == "host",
        needs=(),
        wants=(),
        since_s=1.0,
        restarts=0,
        last_failure="",
        retry_in_s=None,
        why="",
    )


class StandInNode:
    """A peer without a network: one connected peer, called `agent`, answers every ping in 1 ms."""

    def __init__(self, environment: Environment, *, agent: str = "fogp2p/0.1.0") -> None:
        self.environment = environment
        self.event_log = EventLog(environment.clock)
        self.stopping = trio.Event()
        self.agent = agent
        self.tree = {name: _service(name) for name in ("host", "mdns")}
        self.slow = False
        """When set, a ping takes until its deadline."""

    def status(self) -> NodeStatus:
        return NodeStatus(
            peer_id=str(ADA),
            name="ada",
            version="0.1.0",
            key_type="ed25519",
            key_encrypted=None,
            started_at=1_790_000_000.0,
            uptime_s=1.0,
            addresses=(f"/ip4/127.0.0.1/tcp/7460/p2p/{ADA}",),
            peers_connected=1,
            peers_agreed=1,
            peers_wanted=8,
            discovery=(),
            echo_messages=0,
            echo_bytes=0,
            why="",
            health=health_of(self.services()),
            reasons=reasons_of(self.services()),
            services=count(self.services()),
        )

    def peers(self) -> tuple[PeerStatus, ...]:
        return (
            PeerStatus(
                peer_id=str(ADA),
                address="/ip4/127.0.0.1/tcp/7460",
                direction="outbound",
                connected_s=1.0,
                agent=self.agent,
                software=self.agent,
                protocols={"echo": "1.1"},
                not_agreed="",
                warnings=(),
            ),
        )

    async def ping(self, peer: PeerId, *, deadline: float) -> float:
        if self.slow:
            await trio.sleep_until(deadline)
            raise DeadlineExceeded("ping took too long")
        await trio.lowlevel.checkpoint()
        return 0.001

    async def echo(self, peer: PeerId, messages: Sequence[bytes], *, deadline: float) -> EchoResult:
        await trio.lowlevel.checkpoint()
        return EchoResult(Version(1, 1), len(messages), sum(map(len, messages)), 0.001, True)

    async def reach(self, peer: PeerId, *, deadline: float) -> ConnectionInfo:
        raise Unreachable(f"nobody knows an address of {peer.short}")

    def stop(self) -> None:
        self.stopping.set()

    def services(self) -> tuple[ServiceStatus, ...]:
        return tuple(self.tree.values())

    def service_groups(self) -> tuple[GroupStatus, ...]:
        return ()

    async def restart_service(self, name: str) -> None:
        self.tree[name] = replace(self.tree[name], restarts=self.tree[name].restarts + 1)

    async def crash_service(self, name: str) -> None:
        self.tree[name] = replace(self.tree[name], state=State.FAILED, why="a drill")

    def gossip_stats(self) -> GossipStats | None:
        return None

    # It has no rooms: whoever asks for one is told so.

    @property
    def invites(self) -> Invites:
        raise self._no_room("invites")

    @property
    def registry(self) -> Registry:
        raise self._no_room("registry")

    @property
    def blobs(self) -> Blobs:
        raise self._no_room("blobs")

    @property
    def groups(self) -> Logs:
        raise self._no_room("groups")

    @property
    def store(self) -> Store:
        raise self._no_room("store")

    def _no_room(self, name: str) -> ServiceDown:
        return ServiceDown(f"this stand-in has no {name}", hint="ask a real peer")


class Doors:
    """The API before a stand-in, without sockets: its two doors as ASGI applications."""

    def __init__(self, environment: Environment, **node: Any) -> None:
        self.node = StandInNode(environment, **node)
        origins = dict.fromkeys(dict(Config().items()), "default")
        self.context = Context(self.node, Loaded(Config(), origins))
        app = make_app(all_operations(self.context))
        authorities = ("127.0.0.1:7461", "localhost:7461", "[::1]:7461")
        self.socket: ASGIApp = Front(app, Door("socket", ("localhost",), True), self.context)
        self.tcp: ASGIApp = Front(app, Door("tcp", authorities, False), self.context)

    def token(self, scope: str) -> str:
        """A token for the TCP door."""
        from fogp2p.api import Scope

        text, _ = self.context.tokens.add(
            self.context.secret(),
            name="test",
            scope=Scope(scope),
            now=self.context.now(),
            ttl_s=None,
        )
        return text


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        return dict(json.loads(self.body))


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    host: str = "localhost",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | Any = b"",
    query: bytes = b"",
) -> Answer:
    """One request, without a socket. `body` that is not bytes goes as JSON."""
    fields = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers]
    if host:
        fields.append((b"host", host.encode("latin-1")))
    if not isinstance(body, bytes):
        body = json.dumps(body).encode("utf-8")
        fields.append((b"content-type", b"application/json"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8"),
        "query_string": query,
        "root_path": "",
        "headers": fields,
        "client": None,
        "server": None,
        "state": {},
    }
    sent: list[Message] = []
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if given:
            return given.pop()
        await trio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]},
        b"".join(each.get("body", b"") for each in sent[1:]),
    )
