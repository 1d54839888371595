"""The chapter in which parts of a running peer fail: what it says meanwhile, and their return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from .peers import LocalPeer
from .stage import Stage

__all__ = ["Repair"]

# The pauses grow: at once, after 0.1-0.15 s, after 0.2-0.3 s. The last one is long enough to be
# seen from outside, whatever the machine.
_FAILURES: Final = 3
_STEPS: Final = ("stopping", "backing-off", "waiting", "starting", "ready")
# A second is usual; the machine may be a loaded one.
_BACK_TIMEOUT_S: Final = 20.0
_MEET_TIMEOUT_S: Final = 30.0


@dataclass(slots=True)
class _Seen:
    """What the peer said while a part failed again and again."""

    part: str
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    """Of each failure: the health, and what `status` says of the part while it is down."""
    events: list[dict[str, Any]] = field(default_factory=list)
    is_well: bool = False

    @property
    def dependants(self) -> set[str]:
        """Those that cannot be without it, directly or not."""
        found = {self.part}
        for name, each in self.before.items():  # in an order of starting
            if found & set(each["needs"]):
                found.add(name)
        return found - {self.part}


class Repair:
    """A part fails, is started again, and nobody has to do anything."""

    title = "One part of a peer fails and comes back"

    async def run(self, stage: Stage) -> None:
        """Let gossip fail, then the host, which most others stand on; then all talk to it again."""
        peer = stage.peers[-1]
        for part in ("gossip", "host"):
            stage.say(f"  {part} of {peer.name} fails {_FAILURES} times (pid {peer.pid} runs on)")
            seen = await _fail(stage, peer, part)
            for line in _story(seen):
                stage.say(f"    {line}")
            _check(stage, seen)
        await _check_talk(stage, peer)


async def _fail(stage: Stage, peer: LocalPeer, part: str) -> _Seen:
    seen = _Seen(part, await _services(peer))
    since = await peer.last_event()
    for count in range(1, _FAILURES + 1):
        await peer.post(f"services/{part}/crash")
        restarts = seen.before[part]["restarts"] + count
        told: list[tuple[str, str]] = []

        async def is_back(restarts: int = restarts, told: list[tuple[str, str]] = told) -> bool:
            status = await peer.get("status")
            told += _told(status, part)
            seen.after = await _services(peer)
            return bool(status["health"] == "ok" and seen.after[part]["restarts"] == restarts)

        seen.is_well = await stage.until(is_back, timeout_s=_BACK_TIMEOUT_S) is not None
        # The first moments say "stopping", which tells less.
        seen.reasons += sorted(told, key=lambda each: "backing-off" not in each[1])[:1]
        if not seen.is_well:
            break
    seen.events = await peer.happened(since)
    return seen


def _told(status: dict[str, Any], part: str) -> list[tuple[str, str]]:
    """The health, and the reason as far as it is this part's failure."""
    return [
        (status["health"], f"{each['happened']}; {each['hint']}")
        for each in status["reasons"]
        if each["subject"] == part and "a failure was asked for" in each["happened"]
    ]


async def _services(peer: LocalPeer) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (await peer.get("services"))["services"]}


def _check(stage: Stage, seen: _Seen) -> None:
    part = seen.part
    own = [each for each in _changes(seen) if each["data"]["name"] == part]
    steps = tuple(each["data"]["to"] for each in own)
    asked = [each for each in own if each["data"]["to"] == "stopping"]
    ready = [each for each in own if each["data"]["to"] == "ready"]
    times = ", ".join(
        f"{_seconds(one, other):.2f}" for one, other in zip(asked, ready, strict=False)
    )
    stage.check(
        f"{part} fails, waits, and is ready again, as events and services say",
        seen.is_well and steps == _STEPS * _FAILURES,
        f"{len(ready)} of {_FAILURES} times, {times} s after the failure",
    )
    health, told = seen.reasons[-1] if seen.reasons else ("", "it was not asked in time")
    expected = "failing" if seen.before[part]["essential"] else "degraded"
    stage.check(
        f"status says what is wrong while {part} is down",
        health == expected,
        f"{health}, {told}",
    )
    again = {
        name: seen.after[name]["restarts"] - each["restarts"] for name, each in seen.before.items()
    }
    touched = seen.dependants | {part}
    wanted = {name: _FAILURES if name in touched else 0 for name in seen.before}
    stage.check(
        f"what stands on {part} is started again after it, nothing else is",
        again == wanted and _in_order(seen),
        f"{len(touched) - 1} with it, {len(again) - len(touched)} untouched",
    )


def _changes(seen: _Seen) -> list[dict[str, Any]]:
    return [each for each in seen.events if each["type"] == "service.changed"]


def _in_order(seen: _Seen) -> bool:
    """Whether nothing was ever started before all that it needs was ready."""
    ready = set(seen.before)
    for each in _changes(seen):
        name, state = each["data"]["name"], each["data"]["to"]
        if state == "starting" and not ready.issuperset(seen.before[name]["needs"]):
            return False
        if state == "ready":
            ready.add(name)
        else:
            ready.discard(name)
    return True


def _seconds(one: dict[str, Any], other: dict[str, Any]) -> float:
    return (_date(other) - _date(one)).total_seconds()


def _date(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def _story(seen: _Seen) -> Iterator[str]:
    """The last failure as the status page tells it: parts that change alike share a line."""
    told = [
        each
        for each in seen.events
        if each["type"] in ("service.changed", "health.changed")
        and each["data"]["to"] not in ("waiting", "starting")
    ]
    wells = [i for i, each in enumerate(told) if each["data"]["to"] == "ok"]
    last = told[wells[-2] + 1 :] if len(wells) > 1 else told
    names: list[str] = []
    for each, following in zip(last, [*last[1:], None], strict=True):
        names.append(each["data"].get("name", "health"))
        if following is None or _like(each) != _like(following):
            yield _line(last[0], each, names)
            names = []
    if seen.reasons:
        yield "meanwhile `fogp2p status` said: {}, {}".format(*seen.reasons[-1])


def _like(event: dict[str, Any]) -> tuple[str, str, str]:
    data = event["data"]
    return event["type"], data["to"], data.get("reason", "")


def _line(first: dict[str, Any], event: dict[str, Any], names: Sequence[str]) -> str:
    reason = event["data"].get("reason", "")
    shown = f"{_seconds(first, event):5.2f} s  {', '.join(names)} -> {event['data']['to']}"
    return f"{shown} ({reason})" if reason else shown


async def _check_talk(stage: Stage, peer: LocalPeer) -> None:
    others = [each for each in stage.peers if each is not peer]
    names = {each.peer_id for each in others}

    async def all_back() -> bool:
        views = [await each.connected() for each in others]
        return await peer.connected() >= names and all(peer.peer_id in view for view in views)

    back = await stage.until(all_back, timeout_s=_MEET_TIMEOUT_S)
    stage.check(
        "all others are connected to it again",
        back is not None,
        f"{len(others)} peers, {back:.2f} s after its host was ready" if back is not None else "no",
    )
    before = (await peer.get("status"))["echo_messages"]
    for each in others if back is not None else ():
        fields = {"count": 10, "timeout_s": _MEET_TIMEOUT_S}
        await each.post(f"peers/{peer.peer_id}/echo", fields)
    arrived = (await peer.get("status"))["echo_messages"] - before
    stage.check(
        "what they send reaches its new host",
        arrived == 10 * len(others),
        f"{arrived} of {10 * len(others)} messages, as it says itself",
    )
