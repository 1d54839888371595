"""Trying a peer's addresses: overlapping starts, first finished upgrade wins (RFC 8305)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from fogp2p.addresses import Multiaddr
from fogp2p.errors import FogError, Unreachable
from fogp2p.ids import PeerId
from fogp2p.limits import HAPPY_EYEBALLS_DELAY_S

__all__ = ["race"]

T = TypeVar("T")


async def race(
    peer: PeerId,
    addresses: Sequence[Multiaddr],
    attempt: Callable[[Multiaddr], Awaitable[T]],
    discard: Callable[[T], object],
    *,
    delay: float = HAPPY_EYEBALLS_DELAY_S,
) -> T:
    """Return the first success of `attempt(address)`.

    Attempts start in order, `delay` seconds after each other or as soon as the one before failed. A
    second success is given to `discard`. Raises Unreachable with every failure. The caller sets the
    deadline.
    """
    won: list[T] = []
    failures: list[tuple[str, str]] = []

    async with trio.open_nursery() as nursery:

        async def one(address: Multiaddr, failed: trio.Event) -> None:
            try:
                result = await attempt(address)
            except FogError as exc:
                failures.append((str(address), str(exc)))
                failed.set()
                return
            if won:
                discard(result)
                return
            won.append(result)
            nursery.cancel_scope.cancel()

        for address in addresses:
            failed = trio.Event()
            nursery.start_soon(one, address, failed)
            with trio.move_on_after(delay):
                await failed.wait()
    if won:
        return won[0]
    what = "no address of {} answers" if failures else "no usable address of {} is known"
    raise Unreachable(
        what.format(peer.short),
        attempts=tuple(failures),
        hint="is the peer running, and on a network that reaches yours?",
    )
