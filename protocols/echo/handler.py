"""Serves echo on a host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from fogp2p.environment import deadline_of
from fogp2p.host import Host, Stream
from fogp2p.ids import ProtocolId, Version, protocol_id

from .machine import NAME, Echo

__all__ = ["Counters", "install", "remove"]

# A stream that says nothing for this long is closed.
_IDLE_S: Final = 60.0


@dataclass(slots=True)
class Counters:
    """What arrived here, over all streams."""

    messages: int = 0
    bytes: int = 0


def install(
    host: Host, versions: tuple[Version, ...], counters: Counters | None = None
) -> Counters:
    """Serve these versions; the counters, new or going on, tell what was received."""
    counters = counters if counters is not None else Counters()
    for version in versions:
        host.set_handler(_protocol(version), partial(_serve, version=version, counters=counters))
    return counters


def remove(host: Host, versions: tuple[Version, ...]) -> None:
    """Serve these versions no longer."""
    for version in versions:
        host.remove_handler(_protocol(version))


def _protocol(version: Version) -> ProtocolId:
    return protocol_id(f"/{NAME}/{version}.0")


async def _serve(stream: Stream, *, version: Version, counters: Counters) -> None:
    machine = Echo(version)
    while True:
        with deadline_of(trio.current_time() + _IDLE_S, "waiting for a message"):
            data = await stream.read_some()
        if not data:
            return
        messages, received = machine.messages, machine.received
        out = machine.receive_data(data)
        counters.messages += machine.messages - messages
        counters.bytes += machine.received - received
        if out:
            await stream.write_all(out)
