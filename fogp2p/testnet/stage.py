"""What a chapter of the demo works with, and how it reports what was seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from .network import Testnet
from .peers import LocalPeer

__all__ = ["Chapter", "Check", "Stage"]

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was to be seen; `figure` is what was measured, at the receiver."""

    chapter: str
    what: str
    figure: str
    passed: bool


class Stage:
    """The peers, and the report."""

    def __init__(
        self,
        net: Testnet,
        say: Callable[[str], None],
        show: Callable[[Sequence[str]], None],
        file: Path | None = None,
    ) -> None:
        """`say` prints a line; `show` paints lines over those it painted before.

        `file`: one that travels; the project's README if there is none.
        """
        self.net = net
        self.say = say
        self.show = show
        self.file = file
        self.checks: list[Check] = []
        self._chapter = ""

    @property
    def peers(self) -> tuple[LocalPeer, ...]:
        """Everybody."""
        return self.net.peers

    def begin(self, title: str) -> None:
        """A new chapter."""
        self._chapter = title
        self.say(f"\n== {title}")

    def check(self, what: str, passed: bool, figure: str) -> None:
        """Write down what was seen."""
        self.checks.append(Check(self._chapter, what, figure, passed))
        self.say(f"  {'ok  ' if passed else 'FAIL'} {what}: {figure}")

    async def until(
        self, condition: Callable[[], Awaitable[bool]], *, timeout_s: float
    ) -> float | None:
        """Seconds until `condition` held; None when it did not in time."""
        start = trio.current_time()
        with trio.move_on_after(timeout_s):
            # Other processes' states are asked for: there is no event to wait on.
            while not await condition():  # noqa: ASYNC110
                await trio.sleep(_POLL_S)
            return trio.current_time() - start
        return None

    def name_of(self, peer_id: str) -> str:
        """A peer's name for people."""
        return next((peer.name for peer in self.peers if peer.peer_id == peer_id), peer_id[-6:])


class Chapter(Protocol):
    """A part of the demo. Later parts of this project add theirs to `chapters.CHAPTERS`."""

    title: str

    async def run(self, stage: Stage) -> None:
        """Do it, and report with `stage.check`. Raises FogError when it cannot go on."""
        ...
