"""The chapters of the demo, in their order."""

from __future__ import annotations

import statistics
from itertools import permutations
from typing import Any, Final

import trio

from fogp2p.tasks import open_tasks

from .conversation import Conversation
from .peers import LocalPeer
from .repair import Repair
from .stage import Chapter, Stage

__all__ = ["CHAPTERS", "OLD_VERSIONS", "is_old", "play"]

# Peers that speak echo 1.0 only, so that old and new meet in every demo.
OLD_VERSIONS: Final = "protocols.echo=1.0"
_MESSAGES: Final = 50
_MESSAGE_BYTES: Final = 1_000
_TIMEOUT_S: Final = 30.0
# A frozen peer is noticed within 15 s; a killed one at once. Both with room for a loaded machine.
_NOTICE_TIMEOUT_S: Final = 20.0


def is_old(index: int) -> bool:
    """Whether peer `index` speaks the old version only: two of five."""
    return index % 5 in (1, 3)


class Meet:
    """Everybody finds everybody."""

    title = "The peers find each other"

    async def run(self, stage: Stage) -> None:
        """Wait until each is connected to all others and agreed with them."""
        count = len(stage.peers)
        way = "multicast DNS on loopback" if stage.net.found_by == "mdns" else "bootstrap addresses"
        stage.say(f"  {count} processes, each with keys of its own; they meet by {way}")

        async def all_met() -> bool:
            views = [await peer.connected() for peer in stage.peers]
            stage.show(_matrix(stage, views))
            return all(len(view) == count - 1 for view in views)

        took = await stage.until(all_met, timeout_s=_TIMEOUT_S)
        views = [await peer.connected() for peer in stage.peers]
        seen = sum(map(len, views))
        stage.check(
            "every peer is connected to every other",
            took is not None,
            f"{seen} of {count * (count - 1)} ends, as each end says"
            + (f", {took:.1f} s after the start was done" if took is not None else ""),
        )


class Versions:
    """Old and new agree."""

    title = "Old and new versions agree"

    async def run(self, stage: Stage) -> None:
        """Both ends of each connection must name the version the rule gives."""
        right = wrong = 0
        for index, peer in enumerate(stage.peers):
            for other in (await peer.get("peers"))["peers"]:
                theirs = [p.peer_id for p in stage.peers].index(other["peer_id"])
                expected = "1.0" if is_old(index) or is_old(theirs) else "1.1"
                if other["protocols"].get("fog/echo") == expected:
                    right += 1
                else:
                    wrong += 1
        count = len(stage.peers)
        olds = ", ".join(peer.name for i, peer in enumerate(stage.peers) if is_old(i))
        stage.say(f"  {olds} speak echo 1.0 only, the others 1.0 and 1.1")
        stage.check(
            "each pair uses the highest version both have",
            wrong == 0 and right == count * (count - 1),
            f"{right} of {count * (count - 1)} ends",
        )


class Talk:
    """Ping and echo, every pair, both ways."""

    title = "Everybody talks to everybody"

    async def run(self, stage: Stage) -> None:
        """Ping and echo across every ordered pair; the receivers count."""
        pairs = list(permutations(stage.peers, 2))
        medians: list[float] = []
        for one, other in pairs:
            answer = await one.post(f"peers/{other.peer_id}/ping", {"count": 5})
            medians.append(statistics.median(answer["round_trips_s"]))
        stage.check(
            "ping across every pair",
            len(medians) == len(pairs),
            f"{len(medians)} of {len(pairs)}, median {1000 * statistics.median(medians):.1f} ms, "
            f"worst {1000 * max(medians):.1f} ms",
        )
        before = await _received(stage)
        results: list[dict[str, Any]] = []

        async def talk(one: LocalPeer, other: LocalPeer) -> None:
            fields = {"count": _MESSAGES, "size": _MESSAGE_BYTES, "timeout_s": _TIMEOUT_S}
            results.append(await one.post(f"peers/{other.peer_id}/echo", fields))

        async with open_tasks() as tasks:
            for one, other in pairs:
                tasks.start_soon(talk, one, other)
        after = await _received(stage)
        messages, size = after[0] - before[0], after[1] - before[1]
        sent = len(pairs) * _MESSAGES
        stage.check(
            "echo across every pair, counted by the receivers",
            (messages, size) == (sent, sent * _MESSAGE_BYTES),
            f"{messages} of {sent} messages, {size} of {sent * _MESSAGE_BYTES} bytes arrived",
        )
        vouched = sum(result["confirmed"] for result in results)
        modern = sum(result["version"] == "1.1" for result in results)
        stage.check(
            "in version 1.1 the receiver's SHA-256 equals the sender's",
            vouched == modern and len(results) == len(pairs),
            f"{vouched} of {modern} pairs that speak 1.1",
        )


class Crash:
    """A peer is killed and comes back."""

    title = "One peer is killed and comes back"

    async def run(self, stage: Stage) -> None:
        """kill -9, everybody notices; start again, everybody talks to it."""
        victim = stage.peers[2 % len(stage.peers)]
        others = [peer for peer in stage.peers if peer is not victim]
        name, pid = victim.peer_id, victim.pid
        stage.say(f"  kill -9 of {victim.name} (pid {pid})")
        await victim.kill()

        async def all_noticed() -> bool:
            return all([name not in await peer.connected() for peer in others])

        noticed = await stage.until(all_noticed, timeout_s=_NOTICE_TIMEOUT_S)
        stage.check(
            "all others notice",
            noticed is not None,
            f"{len(others)} peers within {noticed:.2f} s" if noticed is not None else "not in time",
        )
        await victim.start()
        stage.check(
            "it comes back as the same peer",
            victim.peer_id == name and victim.pid != pid,
            f"same peer id, pid {pid} is now {victim.pid}",
        )

        async def all_back() -> bool:
            views = [await peer.connected() for peer in others]
            return all(name in view for view in views)

        back = await stage.until(all_back, timeout_s=_TIMEOUT_S)
        stage.check(
            "everybody is connected to it again",
            back is not None,
            f"{len(others)} peers, {back:.2f} s after it was ready" if back is not None else "no",
        )
        before = (await victim.get("status"))["echo_messages"]
        for peer in others if back is not None else ():
            await peer.post(f"peers/{name}/echo", {"count": 10, "timeout_s": _TIMEOUT_S})
        arrived = (await victim.get("status"))["echo_messages"] - before
        stage.check(
            "what they send reaches it",
            arrived == 10 * len(others),
            f"{arrived} of {10 * len(others)} messages, as it says itself",
        )


CHAPTERS: Final[tuple[Chapter, ...]] = (
    Meet(),
    Versions(),
    Talk(),
    Repair(),
    Crash(),
    Conversation(),
)


async def _received(stage: Stage) -> tuple[int, int]:
    messages = size = 0
    for peer in stage.peers:
        status = await peer.get("status")
        messages += status["echo_messages"]
        size += status["echo_bytes"]
    return messages, size


def _matrix(stage: Stage, views: list[set[str]]) -> list[str]:
    """Who sees whom."""
    lines = ["  " + " " * 6 + "".join(f"{peer.name:>6}" for peer in stage.peers)]
    for peer, view in zip(stage.peers, views, strict=True):
        marks = [
            "." if other is peer else ("yes" if other.peer_id in view else "-")
            for other in stage.peers
        ]
        lines.append(f"  {peer.name:<6}" + "".join(f"{mark:>6}" for mark in marks))
    return lines


async def play(stage: Stage, chapters: tuple[Chapter, ...] = CHAPTERS) -> float:
    """Run the chapters in order; return how many seconds they took. Raises FogError."""
    start = trio.current_time()
    for chapter in chapters:
        stage.begin(chapter.title)
        await chapter.run(stage)
    return trio.current_time() - start
