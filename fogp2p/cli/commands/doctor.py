"""fogp2p doctor"""

from __future__ import annotations

from collections.abc import Iterator

import click

from fogp2p.cli.exits import FAILED, OK, PARTLY
from fogp2p.cli.output import Output, printable
from fogp2p.cli.settings import set_option
from fogp2p.client import NotRunning, PeerSaid
from fogp2p.doctor import Diagnosis, Finding, PeerView, Severity, diagnose, look, repair
from fogp2p.doctor.diagnose import CHECKS
from fogp2p.schema import answer

__all__ = ["command"]

_EXIT = {Severity.OK: OK, Severity.WARN: PARTLY, Severity.FAIL: FAILED}
_MARK = {
    Severity.OK: ("ok  ", "green"),
    Severity.WARN: ("warn", "yellow"),
    Severity.FAIL: ("FAIL", "red"),
}


@click.command("doctor")
@click.argument("checks", nargs=-1, type=click.Choice(tuple(CHECKS)), metavar="[CHECK]...")
@click.option("--fix", is_flag=True, help="Mend what can be mended safely: file rights, a socket.")
@set_option
@click.pass_context
def command(
    ctx: click.Context, checks: tuple[str, ...], fix: bool, settings: tuple[str, ...]
) -> None:
    """Look for faults of this machine and this peer, and name the repair. Works with the peer down.

    Exits with 0 when all is well, 8 for warnings, 1 for failures. Nothing leaves the local network.
    """
    output: Output = ctx.obj
    context = look(output.paths, peer=_peer(output), flags=settings)
    found = diagnose(context, only=checks)
    if fix:
        found = repair(context, found, only=checks)
    output.result(answer(found), _lines(found, output))
    ctx.exit(_EXIT[found.verdict])


def _peer(output: Output) -> PeerView | None:
    try:
        client = output.client()
        status = client.get("status")
    except NotRunning:
        return None
    try:
        services = client.get("services")["services"]
    except PeerSaid as exc:
        if exc.status != 404:
            raise
        services = []  # an older peer has none to tell of
    return PeerView(status, services)


def _lines(found: Diagnosis, output: Output) -> Iterator[str]:
    for finding in found.findings:
        yield from _finding(finding, output)
    for each in found.repaired:
        yield f"{'mended' if each.done else 'NOT mended'}  {each.code} {each.place}: {each.what}"
    wrong = [each for each in found.findings if each.severity is not Severity.OK]
    failures = sum(each.severity is Severity.FAIL for each in wrong)
    yield ""
    if not wrong:
        yield f"all is well; the peer is {found.peer}"
        return
    yield (
        f"{failures} failures, {len(wrong) - failures} warnings; the peer is {found.peer}. "
        f"More on one: fogp2p docs {wrong[0].code}"
    )
    if any(each.fixable for each in wrong):
        yield "some can be mended at once: fogp2p doctor --fix"


def _finding(finding: Finding, output: Output) -> Iterator[str]:
    mark, color = _MARK[finding.severity]
    code = f"{finding.code} " if finding.code else ""
    what = " ".join(printable(finding.what))
    yield f"{output.paint(mark, color)} {finding.check:<11} {code}{what}"
    if finding.severity is Severity.OK and not output.verbose:
        return
    for name, text in (
        ("seen", finding.evidence),
        ("affects", finding.affects),
        ("try", finding.hint),
    ):
        if text:
            yield f"     {name + ':':<9}{' '.join(printable(text))}"
