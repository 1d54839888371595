"""Unwrapping many packets beside the event loop."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from fogp2p.environment import Executor
from fogp2p.errors import RemoteProtocolError

from .config import BATCH, PACKET_BYTES
from .sphinx import Unwrapped, unwrap_batch

__all__ = ["unwrap_in_workers"]

Results = list[Unwrapped | RemoteProtocolError]


async def unwrap_in_workers(
    executor: Executor, private_key: bytes, packets: Sequence[bytes]
) -> Results:
    """`unwrap` for any number of packets in worker processes; errors are returned in place.

    The key goes to workers of our own, which are spawned and know nothing else. Raises
    TransportError when one dies.
    """
    parts = [packets[at : at + BATCH] for at in range(0, len(packets), BATCH)]
    results: list[Results] = [[] for _ in parts]

    async def work(index: int, part: Sequence[bytes]) -> None:
        if all(len(packet) == PACKET_BYTES for packet in part):
            # One string is carried much faster than many.
            blob = b"".join(part)
            results[index] = await executor.in_process(_unwrap_blob, private_key, blob)
        else:
            results[index] = await executor.in_process(unwrap_batch, private_key, list(part))

    async with trio.open_nursery() as nursery:
        for index, part in enumerate(parts):
            nursery.start_soon(work, index, part)
    return [each for part in results for each in part]


def _unwrap_blob(private_key: bytes, blob: bytes) -> Results:
    packets = [blob[at : at + PACKET_BYTES] for at in range(0, len(blob), PACKET_BYTES)]
    return unwrap_batch(private_key, packets)
