"""Peers with one fault each, one after another in one process: `mutants.py`.

For each name on standard input the peer of before ends, one with that fault starts, and its address
is printed. `healthy` is the one without. The faults are put in from outside, so that a check that
used the same code would share them; the checks run in another process and share none.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import cbor2
import trio

import fogp2p
from fogp2p.codec import encode
from fogp2p.config import Config, DiscoveryConfig, NetworkConfig
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.node import open as node_open
from fogp2p.protocols.blob.messages import Manifest
from fogp2p.protocols.echo import handler as echo_handler
from fogp2p.protocols.echo import machine as echo_machine
from fogp2p.protocols.gossip import cache as gossip_cache
from fogp2p.protocols.gossip import handler as gossip_handler
from fogp2p.protocols.gossip import machine as gossip_machine
from fogp2p.protocols.invite.budget import Budget
from fogp2p.protocols.kad import handler as kad_handler
from fogp2p.protocols.kad.messages import Kind, Request, Response
from fogp2p.protocols.log import link as log_link
from fogp2p.protocols.ping import handler as ping_handler
from fogp2p.protocols.registry import handler as registry_handler
from fogp2p.protocols.versioning import handler as versioning_handler
from fogp2p.protocols.versioning import machine as versioning_machine
from fogp2p.protocols.versioning import messages as versioning_messages
from fogp2p.transports.libp2p import Libp2pConfig, noise, session, upgrade, yamux
from fogp2p.transports.libp2p.multistream import Responder

Fault = Callable[[], AbstractContextManager[Any]]


def _change(target: Any, name: str, value: Any) -> Fault:
    return lambda: mock.patch.object(target, name, value)


# --- the connection ------------------------------------------------------------------------------


class _Plaintext(Responder):
    """Agrees to have no encryption, and would not know what to do then."""

    def __init__(self, speaks: Callable[[Any], bool]) -> None:
        super().__init__(lambda name: speaks(name) or name == "/plaintext/2.0.0")


class _Trusting(noise.NoiseHandshake):
    def _check(self, payload: bytes) -> None:
        with contextlib.suppress(RemoteProtocolError):
            super()._check(payload)
        if self.remote_peer is None:
            message = noise.NoiseHandshakePayload.FromString(payload)
            self.remote_peer = noise.PeerId.from_key_protobuf(message.identity_key or bytes(36))


def _unbounded_window() -> AbstractContextManager[Any]:
    honest = yamux.Yamux._stream_frame

    def lax(self: Any, kind: int, flags: int, identifier: int, length: int, *rest: Any) -> bool:
        known = self._streams.get(identifier)
        if known is not None and kind == 0:
            known.receive_window = max(known.receive_window, length)
        return honest(self, kind, flags, identifier, length, *rest)

    return mock.patch.object(yamux.Yamux, "_stream_frame", lax)


@contextmanager
def _unbounded_streams() -> Iterator[None]:
    def many(*, client: bool) -> yamux.Yamux:
        return yamux.Yamux(client=client, max_inbound=10**6)

    with (
        mock.patch.object(session, "Yamux", many),
        mock.patch.object(yamux, "STREAMS_PER_S", 1e6),
        mock.patch.object(node_open, "Libp2pConfig", partial(Libp2pConfig, inbound_streams=10**6)),
    ):
        yield


async def _deaf_ping(stream: Any) -> None:
    """Returns whatever comes, but only in whole pieces of 32 bytes as they arrived."""
    while data := await stream.read_some():
        if len(data) % 32 == 0:
            await stream.write_all(data)


# --- frames and codec ----------------------------------------------------------------------------


class _LaxFrames(FrameDecoder):
    """Takes a length in whatever form."""

    def _next(self) -> bytes | None:
        value, rest = 0, self._buffer[self._at :]
        for at, byte in enumerate(rest):
            value |= (byte & 0x7F) << (7 * at)
            if byte < 0x80:
                end = at + 1 + value
                if value > self._max_bytes or len(rest) < end:
                    return super()._next()
                self._at += end
                return rest[at + 1 : end]
        return super()._next()


def _lax_decode(data: bytes, *, schema: Any, max_bytes: int) -> Any:
    """Any CBOR that has the right schema."""
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError) as exc:
        raise RemoteProtocolError("no CBOR", code="cbor-form") from exc
    schema.check(value)
    return value


# --- the version handshake -----------------------------------------------------------------------


class _NoNonceCheck:
    compare_digest = staticmethod(lambda one, other: False)


def _lowest(one: Any, other: Any) -> Any:
    """The choice, with the lowest common version of each protocol."""
    chosen = versioning_messages.choose(one, other)
    if chosen is None:
        return None
    low = {}
    for name, (_, features) in chosen.protocols.items():
        low[name] = (min(one.protocols[name].versions & other.protocols[name].versions), features)
    return versioning_messages.Agreement(chosen.handshake, low)


async def _admit_all(self: Any, peer: Any, protocol: Any, direction: Any) -> None:
    await trio.lowlevel.checkpoint()


# --- echo ----------------------------------------------------------------------------------------


class _Reordering(echo_machine.Echo):
    """Answers the messages of one piece of the stream from the last to the first."""

    def receive_data(self, data: bytes) -> bytes:
        self._decoder.receive_data(data)
        messages = []
        while (message := self._decoder.next_frame()) is not None:
            messages.append(message)
            self.messages += 1
            self.received += len(message)
            self._hash.update(message)
        if len(messages) > 1:
            messages.reverse()
        return b"".join(map(self._answer, messages))


class _Forgetful(echo_machine.Echo):
    """Vouches for the last message alone."""

    def _answer(self, message: bytes) -> bytes:
        if self._version == echo_machine.V1_0:
            return super()._answer(message)
        digest = echo_machine.hashlib.sha256(message).digest()
        return encode_frame(encode({1: message, 2: len(message), 3: digest}))


class _Generous(echo_machine.Echo):
    """Takes messages of any size."""

    def __init__(self, version: Any) -> None:
        super().__init__(version)
        self._decoder = FrameDecoder(max_bytes=1 << 24)

    def _answer(self, message: bytes) -> bytes:
        if self._version == echo_machine.V1_0:
            return encode_frame(message, max_bytes=1 << 24)
        return super()._answer(message)


# --- gossip and kad ------------------------------------------------------------------------------


def _keep_values(self: Any, asker: Any, request: Request) -> Response | None:
    if request.kind is Kind.PUT_VALUE:
        return Response(Kind.PUT_VALUE)
    return _ANSWER(self, asker, request)


def _believe_all(self: Any, asker: Any, request: Request) -> None:
    for record in request.providers:
        self.providers.add(request.key, record.peer, trio.current_time())


_ANSWER = kad_handler.Kad._answer

FAULTS: dict[str, tuple[str, Fault]] = {
    "offers plaintext": ("SEC-002", _change(upgrade, "Responder", _Plaintext)),
    "believes any proof of identity": ("SEC-003", _change(upgrade, "NoiseHandshake", _Trusting)),
    "enforces no window": ("YMX-003", _unbounded_window),
    "takes any number of streams": ("YMX-004", _unbounded_streams),
    "loses pings in pieces": ("PNG-002", _change(ping_handler, "serve_ping", _deaf_ping)),
    "takes lengths of any form": (
        "FRM-001",
        _change(versioning_machine, "FrameDecoder", _LaxFrames),
    ),
    "takes CBOR of any form": ("COD-002", _change(versioning_messages, "decode", _lax_decode)),
    "takes its own nonce": ("VER-010", _change(versioning_machine, "hmac", _NoNonceCheck)),
    "chooses the lowest version": ("VER-020", _change(versioning_machine, "choose", _lowest)),
    "takes a flipped signature": (
        "VER-031",
        _change(versioning_handler, "verify", lambda *_: True),
    ),
    "has no gate": ("VER-040", _change(versioning_handler.Versioning, "admit", _admit_all)),
    "reorders echoes": ("ECH-001", _change(echo_handler, "Echo", _Reordering)),
    "vouches for the last message only": ("ECH-010", _change(echo_handler, "Echo", _Forgetful)),
    "takes echoes of any size": ("ECH-012", _change(echo_handler, "Echo", _Generous)),
    "passes forgeries on": ("GOS-003", _change(gossip_handler, "verify", lambda *_: True)),
    "hands messages out for ever": (
        "GOS-013",
        _change(gossip_cache, "MAX_RETRANSMISSIONS", 10**6),
    ),
    "takes any number of topics": (
        "GOS-002",
        _change(gossip_machine, "MAX_TOPICS_PER_PEER", 10**6),
    ),
    "keeps values": ("KAD-006", _change(kad_handler.Kad, "_answer", _keep_values)),
    "believes any announcement": (
        "KAD-004",
        _change(kad_handler.Kad, "_take_provider", _believe_all),
    ),
    "takes forged descriptors": (
        "REG-006",
        _change(registry_handler, "verify", lambda *_: True),
    ),
    "answers any number of questions": ("INV-044", _change(Budget, "take", lambda *_: True)),
    "believes any chunk": ("BLO-011", _change(Manifest, "check", lambda *_: None)),
    "reads log messages of any size": ("LOG-060", _change(log_link, "MAX_FRAME_BYTES", 1 << 24)),
}
"""Name -> the check that has to find it, and the fault."""


async def _serve() -> None:
    config = Config(
        network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",)),
        discovery=DiscoveryConfig(mdns=False, dht="server", known_peers=False),
    )
    names = trio.wrap_file(sys.stdin)
    name = (await names.readline()).strip()
    while name:
        # With files: a peer without any serves neither invites nor blobs nor groups.
        with ExitStack() as stack:
            home = stack.enter_context(TemporaryDirectory())
            if name != "healthy":
                stack.enter_context(FAULTS[name][1]())
            async with fogp2p.open_peer(home, config=config) as peer:
                assert peer.pubsub is not None
                with peer.pubsub.subscribe("conformance"):
                    sys.stdout.write(f"{peer.addresses[0]}\n")
                    sys.stdout.flush()
                    name = (await names.readline()).strip()


if __name__ == "__main__":
    trio.run(_serve)
