"""Runs checks one after another against a peer, each with a deadline and its own connections."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from fogp2p.errors import FogError, TransportError, Unreachable
from fogp2p.ids import ProtocolId
from fogp2p.supervision import contained

from . import checks as _checks  # noqa: F401 - enters them into the table
from .config import CHECK_TIMEOUT_S, CONNECT_TIMEOUT_S, PACE_S, REFUSAL_TIMEOUT_S
from .context import Context, Pace, Target
from .errors import CheckFailed, NotApplicable
from .model import Check, Outcome
from .wire import DATA, line, raw_dial

__all__ = ["Result", "run_checks"]

_PROBE: Final = "what is offered"


@dataclass(frozen=True, slots=True)
class Result:
    """How one check ended. `said` is the evidence, the fault, or why it does not apply."""

    check: Check
    outcome: Outcome
    said: str
    milliseconds: float
    transcript: tuple[str, ...]
    repeat: str


async def run_checks(
    target: Target,
    selected: Sequence[Check],
    *,
    seed: int,
    pace_s: float | None = None,
    patience_s: float = REFUSAL_TIMEOUT_S,
    jobs: int = 1,
    on_result: Callable[[Result], object] = lambda _: None,
) -> list[Result]:
    """Run `selected`; results come in its order. `on_result` hears of each as it ends.

    `pace_s`: seconds between connections after a burst; None: 0 on this machine, else 5.
    `patience_s`: how long the peer may take to refuse something. `jobs`: checks at a time; more
    than one is quicker with a peer that fails many, and its floods may then slow other checks.
    Raises Unreachable when nobody answers as the target at all.
    """
    pace = Pace(pace_s if pace_s is not None else (0.0 if target.is_local else PACE_S))
    offered = await _offered(target, seed, pace, {c.needs for c in selected if c.needs})
    found: dict[str, Result] = {}

    async def run(each: Check) -> None:
        result = await _run(
            seed, each, Context(target, seed, each.identifier, pace, patience_s), offered
        )
        found[each.identifier] = result
        on_result(result)

    waiting = iter([each for each in selected if not each.patient])

    async def work() -> None:
        for each in waiting:
            await run(each)

    async with trio.open_nursery() as nursery:
        for each in selected:
            if each.patient:
                nursery.start_soon(run, each)
        for _ in range(jobs):
            nursery.start_soon(work)
    return [found[each.identifier] for each in selected]


async def _run(seed: int, each: Check, context: Context, offered: frozenset[ProtocolId]) -> Result:
    start = trio.current_time()
    outcome, said = Outcome.NOT_APPLICABLE, f"the peer does not offer {each.needs}"
    if each.needs is None or each.needs in offered:
        outcome, said = await _judge(each, context)
    took = 1000 * (trio.current_time() - start)
    repeat = f"fogp2p conformance {shlex.quote(str(context.target.address))} " + (
        f"--only {each.identifier} --seed {seed}"
    )
    lines = tuple(context.transcript.lines()) if outcome is Outcome.FAILED else ()
    return Result(each, outcome, said, round(took, 1), lines, repeat)


async def _judge(each: Check, context: Context) -> tuple[Outcome, str]:
    """Run it. Only CheckFailed is the peer's fault by itself; anything else is said as it is."""
    said: list[str] = []

    async def run() -> None:
        with trio.fail_after(CHECK_TIMEOUT_S):
            said.append(await each.run(context))

    failure = _unwrapped(await contained(run))
    match failure:
        case None:
            return Outcome.PASSED, said[0]
        case NotApplicable():
            return Outcome.NOT_APPLICABLE, str(failure)
        case CheckFailed():
            return Outcome.FAILED, str(failure)
        case trio.TooSlowError():
            return Outcome.FAILED, f"not done within {CHECK_TIMEOUT_S:.0f} s"
        case FogError() | trio.BrokenResourceError() | OSError():
            return Outcome.FAILED, f"{type(failure).__name__}: {failure}"
    raise failure


def _unwrapped(failure: Exception | None) -> Exception | None:
    """The one exception inside nurseries' groups; a verdict before what came along with it."""
    while isinstance(failure, ExceptionGroup):
        verdicts = failure.subgroup((CheckFailed, NotApplicable))
        failure = (verdicts or failure).exceptions[0]
    return failure


async def _offered(
    target: Target, seed: int, pace: Pace, wanted: set[ProtocolId]
) -> frozenset[ProtocolId]:
    """Which protocols the peer agrees to, asked one by one; not what it says of itself.

    Raises Unreachable.
    """
    context = Context(target, seed, _PROBE, pace, CONNECT_TIMEOUT_S)
    await pace.wait()
    found = set()
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            peer = await raw_dial(
                target.endpoint, target.peer, context.identity(), context.transcript
            )
    except (OSError, TransportError, trio.BrokenResourceError, trio.TooSlowError) as exc:
        raise _unreachable(target, str(exc) or "no answer in time") from exc
    except FogError as exc:
        raise _unreachable(target, str(exc)) from exc
    try:
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            names = {2 * n + 1: name for n, name in enumerate(sorted(wanted))}
            for stream, name in names.items():
                await peer.open(stream, name)
            answers = dict.fromkeys(names, b"")
            while any(not _is_answered(said) for said in answers.values()):
                answer = await peer.next_frame()
                if answer is None:
                    break
                if answer.kind == DATA and answer.stream in answers:
                    answers[answer.stream] += answer.body
            found = {name for stream, name in names.items() if line(name) in answers[stream]}
    finally:
        await trio.aclose_forcefully(peer.socket)
    return frozenset(found)


def _is_answered(said: bytes) -> bool:
    """Header and one line more: the peer may send them in one piece or two."""
    return said.count(b"\n") >= 2


def _unreachable(target: Target, why: str) -> Unreachable:
    return Unreachable(
        f"{target.peer.short} does not answer at {target.address}",
        attempts=((str(target.address), why),),
        hint="is it running, and is the id after /p2p/ its own?",
    )
