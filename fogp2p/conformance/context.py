"""What a check works with: connections to the target, chance from the seed, and a transcript."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

import trio

from fogp2p.addresses import Multiaddr, peer_of, without_peer
from fogp2p.environment import real_environment, within
from fogp2p.errors import (
    FogError,
    LocalProtocolError,
    RemoteProtocolError,
    StreamReset,
    TransportError,
)
from fogp2p.framing import FrameDecoder, read_frame
from fogp2p.host import Handler, Host, Stream
from fogp2p.identity import Identity, ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.transports.libp2p import Libp2pConfig, open_host

from .config import BURST, CONNECT_TIMEOUT_S
from .errors import CheckFailed, NotApplicable
from .transcript import Transcript
from .wire import Endpoint, RawPeer, open_socket, raw_dial

__all__ = ["Context", "Pace", "Talk", "Target", "Visitor"]

# Keys tried for an id on the wanted side of the target's: enough for all but one id in 500.
_MAX_KEYS: Final = 5_000
Side = Literal["any", "smaller", "greater"]


@dataclass(frozen=True, slots=True)
class Target:
    """The peer under test."""

    address: Multiaddr
    peer: PeerId
    endpoint: Endpoint

    @classmethod
    def of(cls, address: Multiaddr) -> Target:
        """Raises LocalProtocolError("target") for anything but an IP address, TCP and a peer id."""
        peer = peer_of(address)
        parts = {protocol.name: str(value) for protocol, value in address.items()}
        ip = parts.get("ip4") or parts.get("ip6")
        if peer is None or ip is None or "tcp" not in parts:
            raise LocalProtocolError(
                f"{address} is not where a peer can be tested",
                code="target",
                hint="give an address such as /ip4/127.0.0.1/tcp/7460/p2p/12D3KooW...",
            )
        return cls(address, peer, (ip, int(parts["tcp"])))

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return ipaddress.ip_address(self.endpoint[0]).is_loopback


class Pace:
    """Spaces connections out once a burst of them is used up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._left = float(BURST)
        self._at = 0.0

    async def wait(self) -> None:
        """Until one more connection is polite."""
        if self._seconds <= 0:
            return
        now = trio.current_time()
        self._left = min(float(BURST), self._left + (now - self._at) / self._seconds)
        self._at = now
        self._left -= 1
        if self._left < 0:
            await trio.sleep(-self._left * self._seconds)


class Talk:
    """A stream to the target whose words are written down."""

    def __init__(
        self, stream: Stream, transcript: Transcript, max_bytes: int, patience_s: float
    ) -> None:
        self.stream = stream
        self._transcript = transcript
        self._patience_s = patience_s
        self._decoder = FrameDecoder(max_bytes=max_bytes)

    async def say(self, data: bytes, note: str) -> None:
        """Send; what the peer has already cut off is no error here."""
        self._transcript.sent(data, note)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await self.stream.write_all(data)
        except TransportError as exc:
            self._transcript.note(f"not all of it went out: {exc}")
        except trio.TooSlowError:
            raise CheckFailed(f"the peer does not read: {note}") from None

    async def end(self) -> None:
        """Close our half."""
        self._transcript.note("we close our half of the stream")
        await self.stream.close_write()

    async def read_some(self, max_bytes: int = 65_536) -> bytes:
        """As `Stream.read_some`, for `read_frame`."""
        data = await self.stream.read_some(max_bytes)
        self._transcript.received(data, "on the stream")
        return data

    async def frame(self, what: str, timeout_s: float = CONNECT_TIMEOUT_S) -> bytes:
        """The next frame, which has to come. Raises CheckFailed."""
        try:
            with trio.fail_after(timeout_s):
                found = await read_frame(self, self._decoder)
        except trio.TooSlowError:
            raise CheckFailed(f"no {what} within {timeout_s:.0f} s") from None
        except (TransportError, RemoteProtocolError) as exc:
            raise CheckFailed(f"instead of {what}: {exc}") from exc
        if found is None:
            raise CheckFailed(f"the peer ended the stream instead of sending {what}")
        return found

    async def answer_or_end(self, what: str) -> bytes | None:
        """The next frame, or None when the peer ends the stream. Raises CheckFailed for neither."""
        try:
            with trio.fail_after(self._patience_s):
                return await read_frame(self, self._decoder)
        except TransportError as exc:
            self._transcript.note(f"refused: {exc}")
            return None
        except RemoteProtocolError as exc:
            raise CheckFailed(f"what the peer says to {what} is no frame: {exc}") from exc
        except trio.TooSlowError:
            raise CheckFailed(f"the peer neither answers nor refuses {what}") from None

    async def silence(self, what: str, timeout_s: float) -> None:
        """Nothing comes for so long. Raises CheckFailed when something does."""
        with trio.move_on_after(timeout_s):
            try:
                data = await self.read_some()
            except TransportError:
                return
            if data:
                raise CheckFailed(f"the peer answered {what}")

    async def refusal(self, what: str, timeout_s: float | None = None) -> str:
        """The peer ends the stream without a word. Raises CheckFailed for anything else."""
        timeout_s = timeout_s if timeout_s is not None else self._patience_s
        try:
            with trio.fail_after(timeout_s):
                data = await self.read_some()
        except (StreamReset, TransportError) as exc:
            self._transcript.note(f"refused: {exc}")
            return "refused, stream reset"
        except trio.TooSlowError:
            raise CheckFailed(
                f"the peer did not refuse {what}: the stream still stands after {timeout_s:.0f} s"
            ) from None
        if data:
            raise CheckFailed(f"the peer answered {what} instead of refusing it")
        return "refused, stream closed"


class Visitor:
    """An honest connection to the target, on which streams are opened by hand."""

    def __init__(self, host: Host, identity: Identity, context: Context) -> None:
        self.host = host
        self.identity = identity
        self._target = context.target
        self._transcript = context.transcript
        self._patience_s = context.patience_s

    @property
    def peer_id(self) -> PeerId:
        """Who we are this time."""
        return self.identity.peer_id

    async def open(self, protocol: ProtocolId, *, max_bytes: int = 262_144) -> Talk:
        """Open a stream; whether the peer serves it shows with the first answer."""
        self._transcript.note(f"we open a stream of {protocol}")
        stream = await self.host.open_stream(
            self._target.peer, [protocol], deadline=within(CONNECT_TIMEOUT_S)
        )
        return Talk(stream, self._transcript, max_bytes, self._patience_s)

    def talk(self, stream: Stream, *, max_bytes: int = 262_144) -> Talk:
        """A stream that the peer opened."""
        self._transcript.note(f"the peer opens a stream of {stream.protocol}")
        return Talk(stream, self._transcript, max_bytes, self._patience_s)

    async def cut_off(self) -> bool:
        """Whether the peer closes the connection in time."""
        with trio.move_on_after(self._patience_s):
            while self._target.peer in self.host.peers():  # noqa: ASYNC110 - any host will do
                await trio.sleep(0.01)
            self._transcript.note("the peer closed the connection")
            return True
        return False


class Context:
    """One check's means.

    `random` follows from the seed and the check; keys are new each time, because a peer remembers
    who misbehaved. `patience_s` is how long the peer may take to refuse something.
    """

    def __init__(
        self, target: Target, seed: int, identifier: str, pace: Pace, patience_s: float
    ) -> None:
        self.target = target
        self.patience_s = patience_s
        self.random = random.Random(f"{seed}/{identifier}")  # noqa: S311 - repeatable on purpose
        self.transcript = Transcript()
        self._pace = pace
        self._keys = random.SystemRandom()

    def identity(self, side: Side = "any") -> Identity:
        """New keys whose id is smaller or greater than the target's, compared as bytes.

        Raises NotApplicable when there is next to no room on that side.
        """
        for _ in range(_MAX_KEYS):
            found = ephemeral(self._keys)
            if side == "any" or (found.peer_id < self.target.peer) is (side == "smaller"):
                return found
        raise NotApplicable(f"there is hardly an id {side} than the peer's")

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[trio.SocketStream]:
        """A TCP connection that has said nothing."""
        await self._pace.wait()
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                socket = await open_socket(self.target.endpoint)
        except (OSError, trio.TooSlowError) as exc:
            raise CheckFailed(f"the peer accepts no connection any more: {exc}") from exc
        self.transcript.note("connected by TCP")
        try:
            yield socket
        finally:
            await trio.aclose_forcefully(socket)

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[RawPeer]:
        """A proven peer that writes its yamux frames by hand."""
        await self._pace.wait()
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                peer = await raw_dial(
                    self.target.endpoint, self.target.peer, self.identity(), self.transcript
                )
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, FogError) as exc:
            raise CheckFailed(f"an honest connection fails: {exc}") from exc
        try:
            yield peer
        finally:
            await trio.aclose_forcefully(peer.socket)

    @asynccontextmanager
    async def visitor(
        self, *, side: Side = "any", handlers: Mapping[ProtocolId, Handler] | None = None
    ) -> AsyncIterator[Visitor]:
        """A host of ours, connected, that serves `handlers` and nothing else."""
        await self._pace.wait()
        identity = self.identity(side)
        target = self.target
        async with open_host(identity, Libp2pConfig(listen=()), real_environment()) as host:
            for protocol, handler in (handlers or {}).items():
                host.set_handler(protocol, handler)
            try:
                await host.connect(
                    target.peer,
                    [without_peer(target.address)],
                    deadline=within(CONNECT_TIMEOUT_S),
                )
            except FogError as exc:
                raise CheckFailed(f"an honest connection fails: {exc}") from exc
            self.transcript.note(f"connected as {identity.peer_id.short}")
            yield Visitor(host, identity, self)

    async def still_serves(self) -> None:
        """Others are not harmed: somebody new comes in. Raises CheckFailed."""
        async with self.raw():
            self.transcript.note("somebody else still gets in")
