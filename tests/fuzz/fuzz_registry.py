"""Z13: no mutation of a descriptor is proven, none makes us dial where we may not.

Invariant: for any input, reading an envelope, request, receipt or answer raises RemoteProtocolError
or returns; what is proven is the honest descriptor itself; addresses believed of somebody on the
internet are public.
Run by hand: `make fuzz TARGET=registry`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.addresses import Scope, believable, parse_address, scope_of
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.identity import Identity, verify
    from fogp2p.protocols.registry.descriptor import Claim, Descriptor, OwnFacts
    from fogp2p.protocols.registry.machine import Origin, Store, network_of
    from fogp2p.protocols.registry.messages import Answer, Receipt, read_request

NOW = 1_800_000_000
KEYS = Identity("ed25519", b"\7" * 32, bytes(32), bytes(32))
HONEST = Descriptor.make(
    KEYS.peer_id,
    OwnFacts(
        addresses=(parse_address("/ip4/203.0.113.7/tcp/7460"),),
        roles=frozenset({"mesh", "relay"}),
        keys={"mix": bytes(32)},
        capacity={"kbit-s": 1},
    ),
    sequence=1,
    issued=NOW,
    expires=NOW + 60,
    sign=KEYS.sign,
)


def one_input(data: bytes) -> None:
    for read in (read_request, Receipt.from_bytes, lambda raw: Answer.from_bytes(raw, 8)):
        try:
            read(data)
        except RemoteProtocolError:
            continue
    mask = data[: len(HONEST.raw)].ljust(len(HONEST.raw), b"\0")
    mutated = bytes(a ^ b for a, b in zip(HONEST.raw, mask, strict=True))
    for candidate in (data, mutated):
        try:
            claim = Claim.from_bytes(candidate, now=NOW)
        except RemoteProtocolError:
            continue
        look(claim.descriptor)
        try:
            claim.prove(verify)
        except RemoteProtocolError:
            continue
        assert candidate == HONEST.raw, candidate.hex()


def look(claimed: Descriptor) -> None:
    addresses = claimed.multiaddrs()
    for address in believable(addresses, source=Scope.PUBLIC):
        assert scope_of(address) is Scope.PUBLIC, address
    store = Store()
    store.add(claimed, Origin(network_of(addresses), "teller"), NOW)
    assert len(store) == 1


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
