"""Inbound connections before they are peers: counted, hurried, and thinned out under attack."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.errors import DeadlineExceeded, LimitExceeded, TransportError
from fogp2p.events import EventHub
from fogp2p.host import HostEvent, InboundRefused

from .admission import Admission
from .config import Libp2pConfig

__all__ = ["Handshake", "Inbound"]

T = TypeVar("T")


class Handshake:
    """A handshake under way. One that has said nothing yet may be given up for a newcomer."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_silent = True
        self.was_evicted = False

    def made_progress(self) -> None:
        """The peer has sent something."""
        self.is_silent = False

    def evict(self) -> None:
        """Make room."""
        self.was_evicted = True
        self.scope.cancel()


class Inbound:
    """The door: who may come in, and how long it may take."""

    def __init__(self, config: Libp2pConfig, hub: EventHub[HostEvent]) -> None:
        self._config = config
        self._hub = hub
        self._admission = Admission(config)
        self._handshakes: dict[Handshake, None] = {}

    @property
    def handshakes(self) -> int:
        """Handshakes under way."""
        return len(self._handshakes)

    @property
    def total(self) -> int:
        """Inbound connections, handshakes included."""
        return self._admission.total

    @asynccontextmanager
    async def admitted(
        self, socket: trio.SocketStream
    ) -> AsyncIterator[tuple[Multiaddr, Handshake]]:
        """Count the connection while the context lasts. Raises LimitExceeded when turned away."""
        try:
            ip_text, port = socket.socket.getpeername()[:2]
        except OSError as exc:
            raise TransportError("the connection was gone before it was looked at") from exc
        ip = ipaddress.ip_address(ip_text.split("%")[0])
        address = parse_address(f"/ip{ip.version}/{ip}/tcp/{port}")
        refusal = self._admission.refusal(ip, trio.current_time())
        if refusal:
            self._hub.publish(InboundRefused(address, refusal))
            raise LimitExceeded(f"connection turned away: {refusal}")
        try:
            yield address, Handshake()
        finally:
            self._admission.leave(ip)

    async def hurry(self, handshake: Handshake, operation: Callable[[], Awaitable[T]]) -> T:
        """Run a handshake within its time, giving up the oldest silent one if there are too many.

        Raises LimitExceeded or DeadlineExceeded besides what `operation` raises.
        """
        if len(self._handshakes) >= self._config.inbound_handshakes:
            silent = next((other for other in self._handshakes if other.is_silent), None)
            if silent is None:
                raise LimitExceeded("connection turned away: too-many-handshakes")
            silent.evict()
            del self._handshakes[silent]
        self._handshakes[handshake] = None
        try:
            with handshake.scope:
                with trio.move_on_after(self._config.handshake_timeout_s):
                    return await operation()
                raise DeadlineExceeded("the handshake took too long")
        finally:
            self._handshakes.pop(handshake, None)
        raise LimitExceeded("gave up a silent handshake for a newcomer")
