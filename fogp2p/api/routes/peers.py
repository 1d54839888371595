"""Connected peers, and what is done with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fogp2p.api.config import (
    DEFAULT_TIMEOUT_S,
    MAX_ECHO_BYTES,
    MAX_ECHO_TOTAL_BYTES,
    MAX_ECHOES,
    MAX_PINGS,
    MAX_TIMEOUT_S,
)
from fogp2p.api.context import Context
from fogp2p.api.errors import BadRequest
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.environment import within
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.node import Peers
from fogp2p.schema import about, named

__all__ = ["routes"]

_TIMEOUT = about("Seconds to wait for the peer.", minimum=0.01, maximum=MAX_TIMEOUT_S)
_PEER = {"peer": "A peer id, as `GET /api/v1/peers` has it; it need not be connected."}


@dataclass(frozen=True, slots=True)
class PingRequest:
    """How often, and how long."""

    count: int = field(default=1, metadata=about("How many.", minimum=1, maximum=MAX_PINGS))
    timeout_s: float = field(default=DEFAULT_TIMEOUT_S, metadata=_TIMEOUT)


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """How much."""

    count: int = field(default=1, metadata=about("Messages.", minimum=1, maximum=MAX_ECHOES))
    size: int = field(default=100, metadata=about("Bytes each.", minimum=0, maximum=MAX_ECHO_BYTES))
    timeout_s: float = field(default=DEFAULT_TIMEOUT_S, metadata=_TIMEOUT)


@named("ping/1")
@dataclass(frozen=True, slots=True)
class Pinged:
    """Round trips."""

    peer_id: str
    round_trips_s: tuple[float, ...]


@named("echo/1")
@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """`round_trip_s` is the mean of one message; `confirmed`: the peer vouched for the bytes."""

    peer_id: str
    version: str
    messages: int
    bytes: int
    round_trip_s: float
    confirmed: bool


def routes(context: Context) -> Sequence[Operation]:
    """Listing, ping, echo."""

    async def peers(call: Call) -> Peers:
        return Peers(context.node.peers())

    async def ping(call: Call) -> Pinged:
        peer, asked = _peer(call), call.request
        deadline = within(asked.timeout_s)
        times = [await context.node.ping(peer, deadline=deadline) for _ in range(asked.count)]
        return Pinged(str(peer), tuple(times))

    async def echo(call: Call) -> EchoAnswer:
        peer, asked = _peer(call), call.request
        if asked.count * asked.size > MAX_ECHO_TOTAL_BYTES:
            raise BadRequest(f"count times size is at most {MAX_ECHO_TOTAL_BYTES} bytes")
        random = context.node.environment.random
        messages = [random.randbytes(asked.size) for _ in range(asked.count)]
        found = await context.node.echo(peer, messages, deadline=within(asked.timeout_s))
        return EchoAnswer(
            str(peer),
            str(found.version),
            found.messages,
            found.bytes,
            found.round_trip_s,
            found.confirmed,
        )

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/peers",
            name="peers",
            summary="The connected peers with what was agreed, oldest first.",
            scope=Scope.READ,
            handler=peers,
            answer=Peers,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/peers/{{peer}}/ping",
            name="ping",
            summary="Measure the round trip to a peer; finds and connects it if need be.",
            scope=Scope.CONTROL,
            handler=ping,
            request=PingRequest,
            answer=Pinged,
            parameters=_PEER,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/peers/{{peer}}/echo",
            name="echo",
            summary="Send random messages to a peer and check its echoes.",
            scope=Scope.CONTROL,
            handler=echo,
            request=EchoRequest,
            answer=EchoAnswer,
            parameters=_PEER,
        ),
    )


def _peer(call: Call) -> PeerId:
    try:
        return PeerId.parse(call.path["peer"])
    except RemoteProtocolError as exc:  # here it is our own user who wrote it
        raise LocalProtocolError(str(exc), code="peer-id", hint=exc.hint) from exc
