"""Z12: gossipsub RPCs through the reader and the router.

Invariants: only RemoteProtocolError with the code `gossip-...` or `peer-id` comes out; every map of
the router stays within its limit; what is handed on to be verified is of our own topics; nothing is
stored for other topics.
Run by hand: `make fuzz TARGET=gossip`.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.ids import PeerId
    from fogp2p.protocols.gossip.config import MAX_HAS, MAX_TOPICS_PER_PEER, GossipConfig
    from fogp2p.protocols.gossip.machine import Router
    from fogp2p.protocols.gossip.messages import Rpc

OWN, PEER, OTHER = (PeerId.from_ed25519(n.to_bytes(32)) for n in range(3))
TOPIC = "t"


def one_input(data: bytes) -> None:
    router = Router(OWN, GossipConfig(), random.Random(1))
    router.came(PEER, is_outbound=False, address="", now=0.0, speaks_idontwant=True)
    router.came(OTHER, is_outbound=True, address="", now=0.0)
    router.subscribe(TOPIC, 0.0)
    # The input is several frames, each behind two bytes of length.
    now, at = 0.0, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2])
        frame, at, now = data[at + 2 : at + 2 + size], at + 2 + size, now + 0.3
        try:
            rpc = Rpc.from_bytes(frame, router.seen.__contains__)
            for envelope in router.receive(PEER, rpc, now):
                assert envelope.topic == TOPIC and len(envelope.data) <= 65_536
                router.accept(envelope, PEER, now)
        except RemoteProtocolError as error:
            assert error.code.startswith("gossip-") or error.code == "peer-id", error.code
        for _, sent in router.outgoing:
            sent.to_bytes()
        router.outgoing.clear()
        router.heartbeat(now)
        check(router)


def check(router: Router) -> None:
    state = router._peers[PEER]
    assert len(state.topics) <= MAX_TOPICS_PER_PEER and len(state.has) <= MAX_HAS
    assert set(router._backoff) <= {TOPIC} and set(router.mesh) == {TOPIC}
    assert set(router._silence._topics) <= {TOPIC} and len(router._promises) <= 10_000
    assert len(router.scores) == 2


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
