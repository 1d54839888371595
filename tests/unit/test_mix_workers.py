"""Unwrapping in worker processes gives what unwrapping here gives."""

from __future__ import annotations

from fogp2p.environment import real_environment
from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.mix import Hop, build, pad, unwrap_batch, unwrap_in_workers
from fogp2p.protocols.mix.primitives import public_key

PRIVATE = [bytes([n]) * 32 for n in (1, 2, 3)]
HOPS = [Hop(public_key(key), bytes([n + 1]) * 94, 50) for n, key in enumerate(PRIVATE)]


async def test_order_errors_and_odd_sizes_are_kept() -> None:
    packets = [build(HOPS, pad(b"x"), ephemeral=(n + 1).to_bytes(32)) for n in range(70)]
    packets[3] = packets[3][:-1]
    packets[66] = bytes(len(packets[66]))
    executor = real_environment().executor
    found = await unwrap_in_workers(executor, PRIVATE[0], packets)
    here = unwrap_batch(PRIVATE[0], packets)
    assert len(found) == 70
    for one, other in zip(found, here, strict=True):
        if isinstance(other, RemoteProtocolError):
            assert isinstance(one, RemoteProtocolError) and one.code == other.code
        else:
            assert one == other
    assert await unwrap_in_workers(executor, PRIVATE[0], []) == []
    executor._pool.shutdown()  # type: ignore[attr-defined]
