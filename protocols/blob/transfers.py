"""Transfers: what goes on behind a call, with how far it is, how fast, and how it ended."""

from __future__ import annotations

import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from fogp2p.environment import Environment
from fogp2p.errors import FogError, LimitExceeded
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import MAX_OVER, MAX_TRANSFERS, PROGRESS_STEPS, SAMPLE_S, SAMPLES
from .messages import Cid

__all__ = ["Measured", "State", "Transfer", "Transfers"]

Kind = Literal["add", "fetch", "send", "receive"]
_LOG = logging.getLogger(__name__)
_ID_BYTES: Final = 4


class State(enum.StrEnum):
    """How a transfer stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Measured:
    """How far it is; `size` is 0 while it is not known. `sources`: good chunks by peer."""

    done: int = 0
    size: int = 0
    sources: Mapping[PeerId, int] = field(default_factory=dict)


@dataclass(slots=True)
class Transfer:
    """One of them. `started` is on trio's clock; `took_s` is 0 while it runs."""

    id: str
    kind: Kind
    name: str
    cid: Cid | None
    peer: PeerId | None
    started: float
    key: bytes | None = field(default=None, repr=False)
    state: State = State.RUNNING
    error: FogError | None = None
    took_s: float = 0.0
    over: trio.Event = field(default_factory=trio.Event, repr=False)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope, repr=False)
    measure: Callable[[], Measured] = field(default=Measured, repr=False)
    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _begin: tuple[float, int] | None = None

    def begin(self, measure: Callable[[], Measured], now: float) -> None:
        """For work that can be measured: what is there already counts for no rate."""
        self.measure = measure
        self._begin = (now, measure().done)

    def moved(self, done: int, size: int) -> None:
        """For work that is told how far it is."""
        self.measure = lambda: Measured(done, size)

    def sample(self, now: float) -> Measured:
        """Look how far it is, for the rate."""
        found = self.measure()
        if found.size:
            self._samples.append((now, found.done))
        return found

    @property
    def rate(self) -> float:
        """Bytes a second: lately, or altogether once it is over. 0 while there is none."""
        if not self._samples:
            return 0.0
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        if self.state is not State.RUNNING:
            begin, before = self._begin or (self.started, 0)
        return (after - before) / (end - begin) if end > begin else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until it is done, if it goes on like that."""
        found = self.measure()
        if self.state is not State.RUNNING or not self.rate or not found.size:
            return None
        return (found.size - found.done) / self.rate


Work = Callable[[Transfer], Awaitable[None]]


class Transfers:
    """Made by `open_blobs`. They end with it; what arrived stays on the disk."""

    def __init__(self, nursery: trio.Nursery, environment: Environment) -> None:
        self.on_event: Callable[[str, Transfer], None] = lambda what, transfer: None
        """Called with started, progressed, finished, failed or cancelled."""
        self._nursery = nursery
        self._environment = environment
        self._all: dict[str, Transfer] = {}

    def all(self) -> tuple[Transfer, ...]:
        """Those that run and the last that are over, oldest first."""
        return tuple(self._all.values())

    def running(self, kind: Kind | None = None) -> tuple[Transfer, ...]:
        """Those that run."""
        return tuple(
            each
            for each in self._all.values()
            if each.state is State.RUNNING and kind in (None, each.kind)
        )

    def find(self, name: str) -> Transfer | None:
        """One by its id."""
        return self._all.get(name)

    def start(
        self,
        kind: Kind,
        work: Work,
        *,
        name: str = "",
        cid: Cid | None = None,
        peer: PeerId | None = None,
        key: bytes | None = None,
    ) -> Transfer:
        """Begin one that goes on by itself. Raises LimitExceeded when 16 run already."""
        if len(self.running()) >= MAX_TRANSFERS:
            raise LimitExceeded(f"{MAX_TRANSFERS} transfers run already", hint="fogp2p blobs")
        transfer = self._new(kind, name, cid, peer)
        transfer.key = key
        self._nursery.start_soon(self._behind, transfer, work)
        return transfer

    async def run(self, kind: Kind, work: Work, *, name: str, cid: Cid, peer: PeerId) -> None:
        """Do one here and now. Raises what `work` does, and LimitExceeded when it was cancelled."""
        transfer = self._new(kind, name, cid, peer)
        await self._do(transfer, work)
        if transfer.error is not None:
            raise transfer.error

    def cancel(self, transfer: Transfer) -> None:
        """End it; what arrived stays."""
        transfer.scope.cancel()

    def _new(self, kind: Kind, name: str, cid: Cid | None, peer: PeerId | None) -> Transfer:
        over = [each for each in self._all.values() if each.state is not State.RUNNING]
        for each in over[: max(0, len(over) - MAX_OVER + 1)]:
            del self._all[each.id]
        number = self._environment.random.randbytes(_ID_BYTES).hex()
        transfer = Transfer(number, kind, name, cid, peer, trio.current_time())
        self._all[number] = transfer
        return transfer

    async def _behind(self, transfer: Transfer, work: Work) -> None:
        await self._do(transfer, work)
        if transfer.error is not None:
            _LOG.info("transfer_ended kind=%s reason=%s", transfer.kind, transfer.error)

    async def _do(self, transfer: Transfer, work: Work) -> None:
        """Run the work to its end, whatever that is; only errors of this program leave."""
        self.on_event("started", transfer)
        state = State.CANCELLED
        try:
            async with open_tasks() as nursery:
                nursery.start_soon(self._watch, transfer)
                with transfer.scope:
                    try:
                        await work(transfer)
                        state = State.DONE
                    except FogError as exc:
                        transfer.error, state = exc, State.FAILED
                nursery.cancel_scope.cancel()
        finally:
            transfer.sample(trio.current_time())
            transfer.took_s = trio.current_time() - transfer.started
            transfer.state = state
            transfer.over.set()
        if state is State.CANCELLED:
            transfer.error = LimitExceeded("the owner ended this transfer")
        words = {State.DONE: "finished", State.FAILED: "failed"}
        self.on_event(words.get(state, "cancelled"), transfer)

    async def _watch(self, transfer: Transfer) -> None:
        told = 0
        while True:
            found = transfer.sample(trio.current_time())
            step = PROGRESS_STEPS * found.done // found.size if found.size else 0
            if told < step < PROGRESS_STEPS:
                self.on_event("progressed", transfer)
            told = max(told, step)
            await trio.sleep(SAMPLE_S)
