"""Peer ids, protocol names, versions and addresses."""

from __future__ import annotations

import pytest

from fogp2p.addresses import Scope, believable, parse_address, peer_of, scope_of, without_peer
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId, Version, protocol_id

# Examples of libp2p/specs peer-ids.md.
ED25519 = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
RSA = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
ED25519_CID = "bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgkjxzy3rqt5kczyn7lcm3l"


@pytest.mark.parametrize("text", [ED25519, RSA])
def test_peer_ids_keep_their_text(text: str) -> None:
    peer = PeerId.parse(text)
    assert str(peer) == text and PeerId.from_bytes(peer.raw) == peer
    assert repr(peer) == f"PeerId({text})" and peer.short == text[-6:]


def test_both_text_forms_name_the_same_peer() -> None:
    peer = PeerId.parse(ED25519_CID)
    assert PeerId.parse(str(peer)) == peer and peer.ed25519 is not None
    assert PeerId.from_ed25519(peer.ed25519) == peer


def test_a_hashed_id_holds_no_key() -> None:
    peer = PeerId.parse(RSA)
    assert peer.key_protobuf is None and peer.ed25519 is None and peer.secp256k1 is None
    key = bytes(43)
    assert PeerId.from_key_protobuf(key).raw[:2] == b"\x12\x20"


@pytest.mark.parametrize(
    "text",
    ["", "x", "0OIl", ED25519 + "1", "b" + "a" * 60, "bafy" + "a" * 55, "\u00e9", "1" * 200],
)
def test_other_text_is_no_peer_id(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        PeerId.parse(text)
    assert caught.value.code == "peer-id"


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x00\x01", b"\x12\x20" + bytes(31), bytes(60)])
def test_other_bytes_are_no_peer_id(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        PeerId.from_bytes(raw)


def test_a_key_of_another_length_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        PeerId.from_ed25519(bytes(31))


@pytest.mark.parametrize("text", ["", "/", "echo", "/a b", "/\x00", "/" + "x" * 128, "/\u00e9"])
def test_other_text_is_no_protocol(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        protocol_id(text)


def test_versions_are_ordered_by_number() -> None:
    assert Version(1, 9) < Version(1, 10) < Version(2, 0) and str(Version(1, 10)) == "1.10"
    with pytest.raises(LocalProtocolError):
        Version(1, 65_536)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("/ip4/127.0.0.1/tcp/1", Scope.LOOPBACK),
        ("/ip6/::1/tcp/1", Scope.LOOPBACK),
        ("/ip6/::ffff:127.0.0.1/tcp/1", Scope.LOOPBACK),
        ("/ip4/169.254.1.1/tcp/1", Scope.LINK),
        ("/ip6/fe80::1/tcp/1", Scope.LINK),
        ("/ip4/10.1.2.3/tcp/1", Scope.LAN),
        ("/ip4/192.168.1.1/udp/1/quic-v1", Scope.LAN),
        ("/ip6/fd00::1/tcp/1", Scope.LAN),
        ("/ip4/8.8.8.8/tcp/1", Scope.PUBLIC),
        ("/dns4/example.org/tcp/1", Scope.PUBLIC),
        ("/ip4/0.0.0.0/tcp/1", None),
        ("/ip6/::/tcp/1", None),
        ("/ip4/224.0.0.251/udp/5353", None),
        ("/ip6/ff02::fb/udp/5353", None),
        ("/ip4/255.255.255.255/tcp/1", None),
        ("/ip4/240.0.0.1/tcp/1", None),
        ("/unix/a", None),
    ],
)
def test_how_far_an_address_reaches(text: str, scope: Scope | None) -> None:
    assert scope_of(parse_address(text)) == scope


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "x",
        "/ip4/300.1.1.1/tcp/1",
        "/ip4/1.2.3.4/tcp/99999",
        "/nope/1",
        b"\x04",
        b"\xff",
        "/dns4/" + "x" * 2_000,
    ],
)
def test_other_text_is_no_address(text: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_address(text)
    assert caught.value.code == "address"


def test_the_peer_of_an_address() -> None:
    bare = parse_address("/ip4/1.2.3.4/tcp/5")
    full = parse_address(f"/ip4/1.2.3.4/tcp/5/p2p/{ED25519}")
    assert peer_of(full) == PeerId.parse(ED25519) and peer_of(bare) is None
    assert without_peer(full) == bare == without_peer(bare)


def test_at_most_so_many_addresses_are_believed_and_each_once() -> None:
    told = [parse_address(f"/ip4/8.8.8.{n % 20}/tcp/1") for n in range(60)]
    assert believable(told, source=Scope.PUBLIC, limit=8) == tuple(told[:8])
    assert believable(told[:1] * 5, source=Scope.PUBLIC) == tuple(told[:1])
