"""fogp2p simulate [SCENARIO]"""

from __future__ import annotations

from pathlib import Path

import click

from fogp2p.cli.exits import NotFound, WrongUse
from fogp2p.cli.output import Output, table
from fogp2p.schema import answer
from fogp2p.sim import SCENARIOS, InvariantBroken, Options, draw_picture, lines, simulate
from fogp2p.sim.report import ScenarioAnswer, ScenariosAnswer, SimulationAnswer, SimulationsAnswer
from fogp2p.sim.scenario import MAX_PEERS
from fogp2p.sim.seeds import append_seed

__all__ = ["command"]

# A night of small runs; more is a loop of somebody's shell.
_MAX_SEEDS = 10_000


@click.command("simulate")
@click.argument("scenario", required=False, metavar="[SCENARIO]")
@click.option("--peers", type=click.IntRange(2, MAX_PEERS), default=50, help="How many peers.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Equal seeds, equal runs.")
@click.option("--minutes", type=click.FloatRange(0.1, 1440), help="Virtual, with faults.")
@click.option(
    "--seeds", type=click.IntRange(1, _MAX_SEEDS), default=1, help="So many seeds, upwards."
)
@click.option("--faults/--no-faults", default=True, help="Draw faults from the seed, or none.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the run into this file.")
@click.option("--remember", type=click.Path(path_type=Path), help="Add seeds that fail to FILE.")
@click.pass_obj
def command(
    output: Output,
    scenario: str | None,
    peers: int,
    seed: int,
    minutes: float | None,
    seeds: int,
    faults: bool,
    picture: Path | None,
    remember: Path | None,
) -> None:
    """Run a whole network in this process, under a virtual clock, with faults from a seed.

    Without SCENARIO: list them. A broken invariant exits with 1 and prints how to repeat it.
    """
    if scenario is None:
        _list(output)
        return
    if scenario not in SCENARIOS:
        raise NotFound(f"no scenario {scenario!r}", hint=f"one of {', '.join(SCENARIOS)}")
    if picture is not None and seeds > 1:
        raise WrongUse("one picture shows one seed", hint="leave out --seeds or --picture")
    answers = []
    for each in range(seed, seed + seeds):
        options = Options(peers, each, minutes, faults)
        found = simulate(SCENARIOS[scenario], options, output.say)
        answers.append(found)
        if picture is not None:
            draw_picture(found, picture)
            output.say(f"drawn: {picture}")
        if not found.succeeded and remember is not None:
            append_seed(remember, scenario, options)
        if seeds > 1:
            output.say(f"seed {each}: {_verdict(found)}")
    _tell(output, answers)


def _list(output: Output) -> None:
    rows = [[name, kind.about] for name, kind in SCENARIOS.items()]
    found = ScenariosAnswer(
        tuple(ScenarioAnswer(name, kind.minutes, kind.about) for name, kind in SCENARIOS.items())
    )
    output.result(answer(found), table(["SCENARIO", "STORY"], rows))


def _verdict(found: SimulationAnswer) -> str:
    took = f"{found.real_s:.1f} s, trace {found.trace[:16]}"
    if found.broken is None:
        return f"held, {took}"
    return f"BROKEN {found.broken.name}, {took}; replay: {found.replay}"


def _tell(output: Output, answers: list[SimulationAnswer]) -> None:
    broken = [found for found in answers if not found.succeeded]
    if len(answers) == 1:
        output.result(answer(answers[0]), lines(answers[0]))
    else:
        rows = [f"{len(answers)} seeds, {len(broken)} broken"]
        rows += [f"  {found.replay}" for found in broken]
        output.result(answer(SimulationsAnswer(tuple(answers))), rows)
    if broken:
        first = broken[0]
        assert first.broken is not None
        raise InvariantBroken(
            f"{first.broken.name}: {first.broken.reason}", hint=f"replay it: {first.replay}"
        )
