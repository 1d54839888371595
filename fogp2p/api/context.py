"""What the API needs of the peer it stands before, so that it can be tested without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from fogp2p.config import Loaded
from fogp2p.environment import Environment
from fogp2p.eventlog import EventLog
from fogp2p.host import ConnectionInfo
from fogp2p.ids import PeerId
from fogp2p.node import NodeStatus, PeerStatus
from fogp2p.paths import Paths
from fogp2p.protocols.blob import Blobs
from fogp2p.protocols.echo import EchoResult
from fogp2p.protocols.gossip import GossipStats
from fogp2p.protocols.invite import Invites
from fogp2p.protocols.log import Logs
from fogp2p.protocols.registry import Registry
from fogp2p.store import Store
from fogp2p.supervisor import GroupStatus, ServiceStatus

from .events import Subscribers
from .metrics import Metrics
from .sessions import Sessions
from .tokens import BadTokens, Tokens

__all__ = [
    "ApiNode",
    "ConfigFile",
    "Context",
    "Load",
]


class ApiNode(Protocol):
    """The peer. `fogp2p.node.Node` is one."""

    @property
    def environment(self) -> Environment: ...

    @property
    def event_log(self) -> EventLog: ...

    @property
    def stopping(self) -> trio.Event: ...

    def status(self) -> NodeStatus: ...

    def peers(self) -> tuple[PeerStatus, ...]: ...

    async def ping(self, peer: PeerId, *, deadline: float) -> float: ...

    async def echo(
        self, peer: PeerId, messages: Sequence[bytes], *, deadline: float
    ) -> EchoResult: ...

    async def reach(self, peer: PeerId, *, deadline: float) -> ConnectionInfo: ...

    def services(self) -> tuple[ServiceStatus, ...]: ...

    def service_groups(self) -> tuple[GroupStatus, ...]: ...

    def gossip_stats(self) -> GossipStats | None: ...

    @property
    def invites(self) -> Invites: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def blobs(self) -> Blobs: ...

    @property
    def groups(self) -> Logs: ...

    @property
    def store(self) -> Store: ...

    async def restart_service(self, name: str) -> None: ...

    async def crash_service(self, name: str) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Where the configuration came from: what `PATCH /api/v1/config` changes and checks with."""

    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(slots=True)
class Load:
    """What is under way, through all doors together."""

    busy: int = 0
    """Requests being answered, without event streams."""
    delayed: int = 0
    """Wrong tokens that wait for their answer."""


@dataclass(slots=True)
class Context:
    """Everything a handler may use. One for each running API."""

    node: ApiNode
    loaded: Loaded
    config_file: ConfigFile | None = None
    paths: Paths | None = None
    """Where the peer keeps its files, for the doctor."""
    url: str = ""
    """Where a browser reaches the API; empty when it has no TCP door."""
    tokens: Tokens = field(default_factory=Tokens)
    bad_tokens: BadTokens = field(default_factory=BadTokens)
    sessions: Sessions = field(default_factory=Sessions)
    subscribers: Subscribers = field(default_factory=Subscribers)
    metrics: Metrics = field(default_factory=Metrics)
    load: Load = field(default_factory=Load)

    def now(self) -> float:
        """Seconds for lifetimes: dates may jump, tokens must not come back to life."""
        return self.node.environment.clock.monotonic()

    def secret(self) -> bytes:
        """256 bits of chance."""
        return self.node.environment.random.randbytes(32)
