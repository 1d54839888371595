"""What holds for every pattern, key, payload, order of arrival and altered byte."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.noise import Handshake, KeyPair, Pattern, ReplayWindow

PATTERNS = st.sampled_from(list(Pattern))
KEYS = st.binary(min_size=32, max_size=32)


def pair_of(pattern: Pattern, seed: bytes = bytes(32), prologue: bytes = b"") -> list[Handshake]:
    """Both sides of a handshake whose keys follow from `seed`."""
    statics = [KeyPair(bytes([number]) + seed[1:]) for number in (1, 2)]
    return [
        Handshake(
            pattern,
            initiator=initiator,
            ephemeral=KeyPair(bytes([3 + initiator]) + seed[1:]),
            static=statics[not initiator] if pattern.needs_static(initiator) else None,
            remote_static=statics[initiator].public if pattern.knows_remote(initiator) else None,
            prologue=prologue,
        )
        for initiator in (True, False)
    ]


def turns(sides: list[Handshake]) -> Iterator[tuple[Handshake, Handshake]]:
    """(writer, reader) for each message of the handshake."""
    for number in range(len(sides[0].pattern.messages)):
        yield sides[number % 2], sides[1 - number % 2]


def finished(pattern: Pattern) -> list[Handshake]:
    sides = pair_of(pattern)
    for writer, reader in turns(sides):
        reader.read_message(writer.write_message())
    return sides


@pytest.mark.spec("NOI-014")
@settings(max_examples=60, deadline=None)
@given(PATTERNS, KEYS, st.lists(st.binary(max_size=200), min_size=3, max_size=3), st.binary())
def test_any_handshake_completes_and_binds_both_sides(
    pattern: Pattern, seed: bytes, payloads: list[bytes], prologue: bytes
) -> None:
    sides = pair_of(pattern, seed, prologue)
    for (writer, reader), payload in zip(turns(sides), payloads, strict=False):
        assert writer.is_my_turn and not reader.is_my_turn
        assert reader.read_message(writer.write_message(payload)) == payload
    assert sides[0].is_finished and sides[1].is_finished
    assert sides[0].handshake_hash == sides[1].handshake_hash
    forth, back = (side.ordered_transport() for side in sides)
    assert back.decrypt(forth.encrypt(b"forth", b"ad"), b"ad") == b"forth"
    if pattern.one_way:
        with pytest.raises(LocalProtocolError):
            back.encrypt(b"back")
        with pytest.raises(LocalProtocolError):
            forth.decrypt(bytes(16))
    else:
        assert forth.decrypt(back.encrypt(b"back")) == b"back"


@pytest.mark.spec("NOI-005", "NOI-011")
@pytest.mark.parametrize("pattern", list(Pattern))
def test_no_altered_byte_of_a_handshake_goes_unnoticed(pattern: Pattern) -> None:
    """Every byte of every message, one bit each: a refusal, or no common session."""
    for target in range(len(pattern.messages)):
        length = _message_length(pattern, target)
        for position in range(length):
            assert not _agree_after_flip(pattern, target, position, 1 << position % 8)


def _message_length(pattern: Pattern, target: int) -> int:
    for number, (writer, reader) in enumerate(turns(pair_of(pattern))):
        message = writer.write_message(b"payload")
        if number == target:
            return len(message)
        reader.read_message(message)
    raise AssertionError("no such message")


def _agree_after_flip(pattern: Pattern, target: int, position: int, bit: int) -> bool:
    sides = pair_of(pattern)
    try:
        for number, (writer, reader) in enumerate(turns(sides)):
            message = bytearray(writer.write_message(b"payload"))
            if number == target:
                message[position] ^= bit
            reader.read_message(bytes(message))
        sealed = sides[0].ordered_transport().encrypt(b"x")
        sides[1].ordered_transport().decrypt(sealed)
    except RemoteProtocolError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(PATTERNS, st.integers(0, 2), st.binary(max_size=300))
def test_reading_garbage_raises_our_error_and_kills_the_handshake(
    pattern: Pattern, step: int, garbage: bytes
) -> None:
    sides = pair_of(pattern)
    for number, (writer, reader) in enumerate(turns(sides)):
        message = writer.write_message()
        if number == min(step, len(pattern.messages) - 1):
            _read_twice(reader, garbage)
            return
        reader.read_message(message)


def _read_twice(reader: Handshake, garbage: bytes) -> None:
    try:
        reader.read_message(garbage)
    except RemoteProtocolError as first:
        with pytest.raises(RemoteProtocolError) as again:
            reader.read_message(garbage)
        assert again.value is first
    else:
        # Only XX's first message, an unauthenticated key and payload, can be anything.
        assert reader.pattern in (Pattern.XX,) and len(garbage) >= 32


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=120), st.integers(1, 20))
def test_unordered_messages_arrive_at_most_once(order: list[int], window: int) -> None:
    sides = finished(Pattern.XX)
    sender, receiver = (side.unordered_transport(window=window) for side in sides)
    sealed = [sender.encrypt(bytes([number])) for number in range(61)]
    seen: set[int] = set()
    for number in order:
        nonce, message = sealed[number]
        expected = number not in seen and number > max(seen, default=-1) - window
        if expected:
            assert receiver.decrypt(nonce, message) == bytes([number])
            seen.add(number)
        else:
            with pytest.raises(RemoteProtocolError) as caught:
                receiver.decrypt(nonce, message)
            assert caught.value.code == "noise-replay"


@pytest.mark.spec("NOI-012")
@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([0, 2**31, 2**32, 2**63, 2**64 - 70]),
    st.lists(st.integers(0, 69), max_size=100),
    st.integers(1, 40),
)
def test_the_window_equals_a_set(base: int, offsets: list[int], size: int) -> None:
    window, seen = ReplayWindow(size), set[int]()
    for offset in offsets:
        number = base + offset
        fresh = number not in seen and number > max(seen, default=-1) - size
        assert window.is_fresh(number) is fresh
        if fresh:
            window.mark(number)
            seen.add(number)


def test_a_forged_message_does_not_move_the_window() -> None:
    sides = finished(Pattern.XX)
    sender, receiver = (side.unordered_transport() for side in sides)
    nonce, sealed = sender.encrypt(b"first")
    with pytest.raises(RemoteProtocolError, match="authenticate"):
        receiver.decrypt(2**40, sealed)
    assert receiver.decrypt(nonce, sealed) == b"first"


@pytest.mark.spec("NOI-013")
def test_rekeying_keeps_both_sides_together_and_drops_the_old_key() -> None:
    forth, back = (side.ordered_transport() for side in finished(Pattern.IK))
    assert back.decrypt(forth.encrypt(b"1")) == b"1"
    forth.rekey_sending()
    sealed = forth.encrypt(b"2")
    back.rekey_receiving()
    assert back.decrypt(sealed) == b"2"
    forth.rekey_sending()
    with pytest.raises(RemoteProtocolError):
        back.decrypt(forth.encrypt(b"3"))
    with pytest.raises(RemoteProtocolError):  # dead for good
        back.decrypt(forth.encrypt(b"4"))


@pytest.mark.spec("NOI-006")
def test_sizes_at_the_limit() -> None:
    sides = pair_of(Pattern.XX)
    with pytest.raises(LocalProtocolError):
        sides[0].write_message(bytes(65_535 - 32 + 1))
    message = sides[0].write_message(bytes(65_535 - 32))
    assert len(message) == 65_535
    with pytest.raises(RemoteProtocolError, match="over"):
        sides[1].read_message(message + b"\0")
    forth, back = (side.ordered_transport() for side in finished(Pattern.XX))
    with pytest.raises(LocalProtocolError):
        forth.encrypt(bytes(65_520))
    assert len(back.decrypt(forth.encrypt(bytes(65_519)))) == 65_519


@pytest.mark.spec("NOI-015")
def test_calls_out_of_turn_change_nothing() -> None:
    initiator, responder = pair_of(Pattern.XX)
    for call in (
        lambda: initiator.read_message(b""),
        responder.write_message,
        initiator.ordered_transport,
        lambda: initiator.handshake_hash,
    ):
        with pytest.raises(LocalProtocolError):
            call()
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    responder.read_message(initiator.write_message())
    initiator.ordered_transport()
    with pytest.raises(LocalProtocolError):  # one session per handshake
        initiator.unordered_transport()


def test_keys_the_pattern_does_not_use_are_refused() -> None:
    key, static = KeyPair(bytes([9]) * 32), KeyPair(bytes([8]) * 32)
    with pytest.raises(LocalProtocolError):
        Handshake(Pattern.XX, initiator=True, ephemeral=key)
    with pytest.raises(LocalProtocolError):
        Handshake(
            Pattern.N, initiator=True, ephemeral=key, static=static, remote_static=static.public
        )
    with pytest.raises(LocalProtocolError):
        Handshake(Pattern.NK, initiator=True, ephemeral=key)
    with pytest.raises(LocalProtocolError, match="usable"):
        Handshake(Pattern.N, initiator=True, ephemeral=key, remote_static=bytes(32))


def test_no_representation_shows_a_key() -> None:
    secret = bytes(range(32))
    pair = KeyPair(secret)
    handshake = pair_of(Pattern.XX, secret)[0]
    done = finished(Pattern.XX)
    shown = " ".join(
        map(repr, (pair, handshake, handshake._state, done[0].ordered_transport(), done[1]))
    )
    assert secret.hex() not in shown and repr(secret) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(pair)
