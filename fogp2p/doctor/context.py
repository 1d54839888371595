"""What the checks are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fogp2p.config import Loaded
from fogp2p.errors import FogError
from fogp2p.paths import Paths

from .system import System

__all__ = ["Context", "PeerView"]


@dataclass(frozen=True, slots=True)
class PeerView:
    """What the running peer tells of itself: its answers to `status` and `services`."""

    status: Mapping[str, Any]
    services: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """`config` is None when it is wrong; `wrong` is the error then. `peer` is None when down."""

    system: System
    paths: Paths
    config: Loaded | None
    wrong: FogError | None
    peer: PeerView | None

    def directories(self) -> tuple[Path, ...]:
        """The peer's directories that are there."""
        wanted = (self.paths.config.parent, self.paths.data, self.paths.state, self.paths.run)
        return tuple(path for path in dict.fromkeys(wanted) if self.system.stat(path))

    def files(self) -> tuple[Path, ...]:
        """The peer's files that are there."""
        paths = self.paths
        wanted = (paths.config, paths.keystore, paths.known_peers, paths.log)
        return tuple(path for path in wanted if self.system.stat(path))
