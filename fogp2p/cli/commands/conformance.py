"""fogp2p conformance"""

from __future__ import annotations

from pathlib import Path

import click
import trio

from fogp2p import schema
from fogp2p.addresses import parse_address
from fogp2p.cli.output import FAILED, Output, table
from fogp2p.conformance import Target, run_checks, select
from fogp2p.conformance.config import REFUSAL_TIMEOUT_S
from fogp2p.conformance.model import Outcome
from fogp2p.conformance.report import HEAD, answer_of, details, junit, listing_answer, rows, totals
from fogp2p.conformance.runner import Result
from fogp2p.environment import real_environment
from fogp2p.errors import LocalProtocolError

__all__ = ["command"]

_MAX_SEED = 2**31 - 1


@click.command("conformance")
@click.argument("target", required=False)
@click.option(
    "--only", multiple=True, metavar="CHECK", help="A check, an anchor or a specification; repeat."
)
@click.option("--seed", type=click.IntRange(0, _MAX_SEED), help="Repeat a run; else drawn anew.")
@click.option(
    "--pace",
    type=click.FloatRange(0, 60),
    help="Seconds between connections after a burst; 0 on this machine, else 5.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 20),
    default=REFUSAL_TIMEOUT_S,
    show_default=True,
    help="Seconds a peer may take to answer or refuse.",
)
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="JUnit XML, too.")
@click.option("--list", "listing", is_flag=True, help="Show the checks, and what none reaches.")
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    target: str | None,
    only: tuple[str, ...],
    seed: int | None,
    pace: float | None,
    patience: float,
    junit_file: Path | None,
    listing: bool,
) -> None:
    """Check on the wire whether the peer at TARGET keeps the specifications.

    TARGET is an address that ends in a peer id, such as /ip4/127.0.0.1/tcp/7460/p2p/12D3KooW...,
    of any implementation. Exit code 0: all passed; 1: some failed; 5: nobody answers.
    """
    selected = select(only)
    if listing:
        _list(output)
        return
    if target is None:
        raise LocalProtocolError("name a target", code="target", hint="fogp2p conformance --help")
    place = Target.of(parse_address(target))
    environment = real_environment()
    chance = seed if seed is not None else environment.random.randrange(_MAX_SEED)

    def say(result: Result) -> None:
        if result.outcome is Outcome.FAILED:
            output.say(f"{result.check.identifier} failed: {result.said}")

    async def run() -> list[Result]:
        return await run_checks(
            place, selected, seed=chance, pace_s=pace, patience_s=patience, on_result=say
        )

    results = trio.run(run)
    answer = answer_of(place, chance, results)
    if junit_file is not None:
        environment.disk.replace(junit_file.absolute(), junit(answer).encode(), mode=0o644)
    lines = [*table(HEAD, rows(results)), *details(results), "", totals(answer)]
    output.result(schema.answer(answer), lines)
    if answer.failed:
        ctx.exit(FAILED)


def _list(output: Output) -> None:
    answer = listing_answer()
    lines = [
        *table(
            ("SPEC", "CHECK", "WHAT THE PEER DOES"),
            [(each.spec, each.check, each.title) for each in answer.checks],
        ),
        "",
        "Not checkable on the wire:",
        *table(("ANCHOR", "WHY"), [(each.anchor, each.reason) for each in answer.not_checkable]),
    ]
    output.result(schema.answer(answer), lines)
