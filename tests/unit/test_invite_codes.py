"""Words and links: how they are read, and what does not show them."""

from __future__ import annotations

import random

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.addresses import parse_address
from fogp2p.identity import Identity
from fogp2p.ids import PeerId
from fogp2p.protocols.invite.codes import (
    MAX_LINK_CHARACTERS,
    Link,
    Words,
    parse_code,
    password,
    word_list,
)
from fogp2p.protocols.invite.errors import CodeError

ED25519 = PeerId.from_ed25519(bytes(range(32)))
SECP256K1 = Identity("secp256k1", bytes([3]) * 32, bytes(32), bytes(32)).peer_id

nameplates = st.integers(1, 999)
words = st.tuples(st.sampled_from(word_list()), st.sampled_from(word_list()))
ip4 = st.builds(
    lambda ip, port: parse_address(f"/ip4/{ip}/tcp/{port}"),
    st.ip_addresses(v=4),
    st.integers(0, 65_535),
)
ip6 = st.builds(
    lambda ip, port: parse_address(f"/ip6/{ip}/tcp/{port}"),
    st.ip_addresses(v=6),
    st.integers(0, 65_535),
)
links = st.builds(
    Link,
    nameplates,
    st.sampled_from([ED25519, SECP256K1]),
    st.binary(min_size=16, max_size=16),
    st.lists(st.one_of(ip4, ip6), max_size=4).map(tuple),
)


@pytest.mark.spec("INV-001")
@given(nameplates, words, st.sampled_from(["-", " ", "  ", "_", ", ", "."]), st.booleans())
def test_words_are_read_however_they_are_typed(
    nameplate: int, chosen: tuple[str, str], between: str, upper: bool
) -> None:
    code = Words(nameplate, chosen)
    text = between.join([f"{nameplate:03}", *chosen])
    assert parse_code(f" {text.upper() if upper else text}\n") == code
    assert parse_code(str(code)) == code


@pytest.mark.spec("INV-001")
def test_the_list_has_2048_words_that_four_letters_tell_apart() -> None:
    assert len(word_list()) == 2048 == len({word[:4] for word in word_list()})


@pytest.mark.spec("INV-001")
def test_a_misspelt_word_is_named_with_the_nearest_and_never_replaced() -> None:
    with pytest.raises(CodeError, match="'coper'") as caught:
        parse_code("7-coper-lake")
    assert caught.value.hint == "did you mean copper?"
    with pytest.raises(CodeError) as caught:
        parse_code("7-copper-xqzwv")
    assert "FOGP2P" in caught.value.hint


@pytest.mark.spec("INV-002", "INV-003")
@given(links)
def test_links_come_back_and_are_short(link: Link) -> None:
    text = str(link)
    assert len(text) <= 119 < MAX_LINK_CHARACTERS
    read = parse_code(text.lower())
    assert isinstance(read, Link)
    assert (read.nameplate, read.peer, read.secret) == (link.nameplate, link.peer, link.secret)
    assert set(read.addresses) <= set(link.addresses) and len(read.addresses) <= 2
    if link.addresses and link.peer == ED25519:
        assert read.addresses, "one address of any kind always fits"


@pytest.mark.spec("INV-003")
@settings(max_examples=30)
@given(links)
def test_a_links_qr_code_fits_a_small_terminal(link: Link) -> None:
    code = segno.make_qr(str(link), error="l", boost_error=False)
    width, height = code.symbol_size(border=4)
    assert width <= 45 and (height + 1) // 2 <= 23


@pytest.mark.spec("INV-003")
@given(links, st.integers(7), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_slip_in_a_link_is_noticed_or_leads_elsewhere(link: Link, at: int, letter: str) -> None:
    text = str(link)
    at = 7 + at % (len(text) - 7)
    slipped = text[:at] + letter + text[at + 1 :]
    if slipped == text:
        return
    try:
        assert parse_code(slipped) != parse_code(text)
    except CodeError as exc:
        assert exc.code == "invite-code" and exc.hint


def test_slips_are_mostly_noticed() -> None:
    source, noticed = random.Random(1), 0
    text = str(Link(7, ED25519, bytes(16), (parse_address("/ip4/10.0.0.1/tcp/7460"),)))
    for _ in range(500):
        at = source.randrange(7, len(text))
        letter = source.choice([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" if c != text[at]])
        try:
            parse_code(text[:at] + letter + text[at + 1 :])
        except CodeError:
            noticed += 1
    assert noticed >= 490


@settings(max_examples=50)
@given(st.text(max_size=200) | st.binary(max_size=90).map(lambda b: "FOGP2P:" + b.hex()))
def test_any_text_is_a_code_or_a_code_error(text: str) -> None:
    try:
        assert 1 <= parse_code(text).nameplate <= 999
    except CodeError as exc:
        assert exc.number == "FOG-INV-001"


@pytest.mark.spec("INV-004")
def test_passwords_are_bound_to_kind_and_nameplate() -> None:
    codes = [
        Words(7, ("copper", "lake")),
        Words(8, ("copper", "lake")),
        Words(7, ("lake", "copper")),
        Link(7, ED25519, bytes(16)),
        Link(8, ED25519, bytes(16)),
        Link(7, ED25519, bytes(15) + b"\1"),
    ]
    assert len({password(code) for code in codes}) == len(codes)
    # Where the inviter may be reached is a hint and no part of the secret.
    there = Link(7, ED25519, bytes(16), (parse_address("/ip4/10.0.0.1/tcp/7460"),))
    assert password(there) == password(codes[3])


def test_repr_shows_no_secret() -> None:
    assert "copper" not in repr(Words(7, ("copper", "lake")))
    assert repr(b"\x11" * 16)[2:-1] not in repr(Link(7, ED25519, b"\x11" * 16))
