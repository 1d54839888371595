"""Attacks on Noise sessions."""

from __future__ import annotations

import pytest

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.noise import Handshake, KeyPair, Pattern, UnorderedTransport
from fogp2p.protocols.noise.primitives import Cipher

# The points of small order and their aliases on curve25519.
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


def _xx(initiator: bool) -> Handshake:
    base = 1 if initiator else 3
    return Handshake(
        Pattern.XX,
        initiator=initiator,
        ephemeral=KeyPair(bytes([base]) * 32),
        static=KeyPair(bytes([base + 1]) * 32),
    )


@pytest.mark.attack(3)
@pytest.mark.spec("NOI-004")
@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda p: p.hex()[:8])
def test_low_order_ephemeral_keys_end_the_handshake(point: bytes) -> None:
    responder = _xx(initiator=False)
    responder.read_message(point)
    with pytest.raises(RemoteProtocolError, match="small order"):
        responder.write_message()
    with pytest.raises(RemoteProtocolError, match="small order"):
        responder.write_message()  # dead for good
    initiator = _xx(initiator=True)
    initiator.write_message()
    with pytest.raises(RemoteProtocolError, match="small order"):
        initiator.read_message(point + bytes(64))


def _session(max_nonce: int = 2**64 - 2) -> tuple[UnorderedTransport, UnorderedTransport]:
    sides = _xx(initiator=True), _xx(initiator=False)
    sides[1].read_message(sides[0].write_message())
    sides[0].read_message(sides[1].write_message())
    sides[1].read_message(sides[0].write_message())
    first, second = (side.unordered_transport(max_nonce=max_nonce) for side in sides)
    return first, second


@pytest.mark.attack(41)
@pytest.mark.spec("NOI-012")
def test_bc_nonce() -> None:
    """Replay, reordering by more than the window, and wrap: dropped, and the session lives."""
    sender, receiver = _session()
    sealed = [sender.encrypt(b"%d" % number) for number in range(2_100)]
    assert receiver.decrypt(*sealed[2_000]) == b"2000"
    for late in (0, 976):
        with pytest.raises(RemoteProtocolError, match="too old"):
            receiver.decrypt(*sealed[late])
    assert receiver.decrypt(*sealed[977]) == b"977"
    for replayed in (977, 2_000):
        with pytest.raises(RemoteProtocolError, match="seen before"):
            receiver.decrypt(*sealed[replayed])
    assert receiver.decrypt(*sealed[2_099]) == b"2099"


@pytest.mark.attack(41)
@pytest.mark.parametrize("edge", [2**32 - 2, 2**64 - 1024, 2**64 - 2])
def test_nonces_at_the_edges_do_not_wrap(edge: int) -> None:
    """The faults of BCH-01-010: a 4-byte counter and a window that overflowed near 2**64."""
    cipher = Cipher(bytes(32))
    receiver = UnorderedTransport(None, cipher, max_nonce=edge)
    assert receiver.decrypt(edge, cipher.encrypt(edge, b"", b"last")) == b"last"
    with pytest.raises(RemoteProtocolError, match="seen before"):
        receiver.decrypt(edge, cipher.encrypt(edge, b"", b"last"))
    for wrapped in (edge + 1, 2**64 - 1, 2**64, -1):
        with pytest.raises(RemoteProtocolError) as caught:
            receiver.decrypt(wrapped, bytes(16))
        assert caught.value.code == "noise-nonce"
    assert receiver.decrypt(edge - 1, cipher.encrypt(edge - 1, b"", b"x")) == b"x"


@pytest.mark.attack(41)
def test_a_sender_stops_rather_than_reuse_a_nonce() -> None:
    sender, _ = _session(max_nonce=1)
    sender.encrypt(b"0")
    sender.encrypt(b"1")
    with pytest.raises(LocalProtocolError) as caught:
        sender.encrypt(b"2")
    assert caught.value.code == "noise-nonce"


@pytest.mark.attack(4)
def test_replayed_handshake_messages_give_no_session() -> None:
    """A recorded handshake, played to a responder with a new ephemeral key."""
    recorded: list[bytes] = []
    first, second = _xx(initiator=True), _xx(initiator=False)
    recorded.append(first.write_message())
    second.read_message(recorded[0])
    first.read_message(second.write_message())
    recorded.append(first.write_message())
    fresh = Handshake(
        Pattern.XX,
        initiator=False,
        ephemeral=KeyPair(b"\x55" * 32),
        static=KeyPair(b"\x04" * 32),
    )
    fresh.read_message(recorded[0])
    fresh.write_message()
    with pytest.raises(RemoteProtocolError, match="authenticate"):
        fresh.read_message(recorded[1])
