"""Our envelopes and those of libp2p 0.8.1 are the same (RFC 0002)."""

from __future__ import annotations

import random

import pytest
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.secp256k1 import Secp256k1PrivateKey
from libp2p.peer.envelope import Envelope as StockEnvelope
from libp2p.peer.envelope import make_unsigned, unmarshal_envelope
from libp2p.peer.id import ID

from fogp2p.identity import KeyType, ephemeral, verify
from fogp2p.protocols.registry.descriptor import DOMAIN, PAYLOAD_TYPE, Descriptor, OwnFacts
from fogp2p.protocols.registry.envelope import Envelope

NOW = 1_800_000_000


@pytest.mark.stock
@pytest.mark.parametrize("kind", ["ed25519", "secp256k1"])
def test_libp2p_verifies_our_descriptor(kind: KeyType) -> None:
    keys = ephemeral(random.Random(4), key_type=kind)
    facts = OwnFacts(roles=frozenset({"relay"}))
    made = Descriptor.make(
        keys.peer_id, facts, sequence=1, issued=NOW, expires=NOW + 60, sign=keys.sign
    )
    stock = unmarshal_envelope(made.raw)
    stock.validate(DOMAIN.decode("ascii"))
    assert stock.payload_type == PAYLOAD_TYPE
    assert ID.from_pubkey(stock.public_key).to_bytes() == keys.peer_id.raw
    assert stock.marshal_envelope() == made.raw
    with pytest.raises(ValueError, match="Invalid envelope signature"):
        stock.validate("libp2p-peer-record")


@pytest.mark.stock
def test_libp2p_verifies_every_signature_of_a_secp256k1_key() -> None:
    keys = ephemeral(random.Random(6), key_type="secp256k1")
    public = Secp256k1PrivateKey.from_bytes(keys.libp2p_private_key()).get_public_key()
    for number in range(64):
        data = number.to_bytes(8)
        assert public.verify(data, keys.sign(data))


@pytest.mark.stock
@pytest.mark.parametrize("kind", ["ed25519", "secp256k1"])
def test_we_verify_an_envelope_that_libp2p_signed(kind: KeyType) -> None:
    keys = ephemeral(random.Random(5), key_type=kind)
    private = (Ed25519PrivateKey if kind == "ed25519" else Secp256k1PrivateKey).from_bytes(
        keys.libp2p_private_key()
    )
    payload = b"said by libp2p"
    signature = private.sign(make_unsigned(DOMAIN.decode("ascii"), PAYLOAD_TYPE, payload))
    stock = StockEnvelope(private.get_public_key(), PAYLOAD_TYPE, payload, signature)
    read = Envelope.from_bytes(stock.marshal_envelope())
    assert (read.signer, read.payload) == (keys.peer_id, payload)
    assert read.is_signed(DOMAIN, verify)
    assert not read.is_signed(b"libp2p-peer-record", verify)
