"""`fogp2p.conformance`: it passes a healthy peer, and finds each fault of a faulty one."""

from __future__ import annotations

import ast
import importlib.util
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.addresses import parse_address
from fogp2p.conformance import (
    Check,
    CheckFailed,
    NotApplicable,
    Outcome,
    Result,
    Target,
    all_checks,
    run_checks,
    select,
)
from fogp2p.conformance.coverage import NOT_ON_THE_WIRE, reason_for
from fogp2p.conformance.model import SOURCES
from fogp2p.errors import LocalProtocolError, Unreachable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_ITEM = re.compile(r"^- \*\*([A-Z]{3}-\d{3})\*\* (.*(?:\n(?:  .*|\n(?=  )))*)", re.M)
PATIENCE_S = 2.5  # a fault breaks up to twenty checks, and each waits so long for the refusal
BRISK = tuple(each for each in all_checks() if not each.patient)


def _faults() -> dict[str, str]:
    """Name -> the check that finds it, read off the program without running it."""
    tree = ast.parse((HERE / "mutants.py").read_text("utf-8"))
    table = next(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FAULTS"
    )
    assert isinstance(table, ast.Dict)
    return {
        ast.literal_eval(name): ast.literal_eval(pair.elts[0])  # type: ignore[arg-type,attr-defined]
        for name, pair in zip(table.keys, table.values, strict=True)
    }


FAULTS = _faults()


@pytest.fixture(scope="module")
def mutants() -> Iterator[Any]:
    """Call it with a name; it gives the address of a peer with that fault."""
    with subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", str(HERE / "mutants.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def become(name: str) -> Target:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(name + "\n")
            process.stdin.flush()
            return Target.of(parse_address(process.stdout.readline().strip()))

        yield become
        process.stdin.close()
        process.wait(10)


def _run(target: Target, chosen: tuple[Check, ...], seed: int = 7) -> list[Result]:
    run = partial(run_checks, target, chosen, seed=seed, patience_s=PATIENCE_S, jobs=8)
    return trio.run(run)


def _failed(results: list[Result]) -> list[Result]:
    return [each for each in results if each.outcome is Outcome.FAILED]


@pytest.mark.spec("VER-031", "VER-050")
@pytest.mark.process
def test_a_healthy_peer_passes_every_check(mutants: Any) -> None:
    results = _run(mutants("healthy"), all_checks())
    assert [(r.check.identifier, r.said) for r in results if r.outcome is not Outcome.PASSED] == []
    assert len(results) > 100


def _own_and_some_of_the_others(fault: str, spec: str) -> tuple[Check, ...]:
    """All checks of `spec`, and two of each other specification: others for each fault."""
    drawn = [each for each in BRISK if each.spec == spec]
    source = random.Random(fault)
    for other in sorted({each.spec for each in BRISK} - {spec}):
        theirs = [each for each in BRISK if each.spec == other]
        drawn += source.sample(theirs, min(2, len(theirs)))
    return tuple(drawn)


@pytest.mark.process
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_check_and_by_no_other_specifications(
    mutants: Any, fault: str
) -> None:
    expected = FAULTS[fault]
    spec = SOURCES[expected[:3]][0]
    failed = _failed(_run(mutants(fault), _own_and_some_of_the_others(fault, spec)))
    assert expected in {each.check.anchor for each in failed}
    # A fault breaks sentences that lean on the broken one, but of its own specification.
    assert [(r.check.identifier, r.said) for r in failed if r.check.spec != spec] == []
    for each in failed:
        assert each.said and each.transcript
        assert each.repeat.endswith(f"--only {each.check.identifier} --seed 7")


@pytest.mark.process
def test_a_failed_check_fails_again_alone(mutants: Any) -> None:
    target = mutants("reorders echoes")
    (result,) = _run(target, select(("ECH-001",)), seed=3)
    (again,) = _run(target, select(("ECH-001",)), seed=3)
    assert result.outcome is again.outcome is Outcome.FAILED
    assert result.said == again.said


def test_nobody_at_the_address_is_no_verdict() -> None:
    peer = "12D3KooWDJTYsdzGcNFWot1MzV3mUeXrpGmBQh9JxLNKEouo4jw7"
    target = Target.of(parse_address(f"/ip4/127.0.0.1/tcp/1/p2p/{peer}"))
    with pytest.raises(Unreachable):
        _run(target, BRISK)


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/127.0.0.1/tcp/7460",
        "/dns4/example.org/tcp/1/p2p/12D3KooWDJTYsdzGcNFWot1MzV3mUeXrpGmBQh9JxLNKEouo4jw7",
        "/ip4/127.0.0.1/udp/1/p2p/12D3KooWDJTYsdzGcNFWot1MzV3mUeXrpGmBQh9JxLNKEouo4jw7",
    ],
)
def test_a_target_is_an_ip_address_a_tcp_port_and_a_peer(address: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Target.of(parse_address(address))
    assert caught.value.code == "target"


def test_a_check_that_is_not_there_is_named() -> None:
    with pytest.raises(LocalProtocolError, match="ABC-001"):
        select(("ABC-001",))
    assert {each.spec for each in select(("echo",))} == {"echo"}
    assert [each.identifier for each in select(("yMX-005b",))] == ["YMX-005b"]


def test_every_binding_sentence_has_a_check_or_a_reason() -> None:
    checked = {each.anchor for each in all_checks()}
    binding = {
        anchor
        for path in sorted((ROOT / "specs").glob("*/*-v*.md"))
        for anchor, sentence in _ITEM.findall(path.read_text("utf-8"))
        if "MUST" in sentence
    }
    without = sorted(a for a in binding if a not in checked and not reason_for(a))
    assert without == [], "add a check, or a reason to fogp2p/conformance/coverage.py"
    both = sorted(a for a in checked if a in NOT_ON_THE_WIRE)
    assert both == [], "these have a check: take them out of the table"
    known = {anchor[:3] for anchor in binding}
    stale = [a for a in NOT_ON_THE_WIRE if a not in (binding if "-" in a else known)]
    assert stale == [], "no text has these any more"


# What the kit finds in others. Theirs to judge: docs/howto/conformance.md says what each means.
KNOWN = {
    "js": {"MSS-003", "YMX-005a", "YMX-005b", "YMX-005c"},
    "go": set[str](),
}


def _matrix() -> Any:
    """The commands of tests/interop (tests are no package)."""
    path = ROOT / "tests" / "interop" / "test_matrix.py"
    spec = importlib.util.spec_from_file_location("interop_matrix", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.process
@pytest.mark.parametrize("theirs", KNOWN)
async def test_other_implementations(theirs: str) -> None:
    """Their transport is judged; what of ours they do not offer is not held against them."""
    matrix = _matrix()
    if not {"js": matrix.NODE, "go": matrix.GO}[theirs].exists():
        pytest.skip(f"{theirs}-libp2p is not built: `make interop` builds it")
    async with matrix.child(theirs, "serve") as other:
        address = (await other.until("address"))["address"]
        results = await run_checks(
            Target.of(parse_address(address)), BRISK, seed=7, patience_s=PATIENCE_S
        )
    assert {each.check.identifier for each in _failed(results)} <= KNOWN[theirs]
    outcomes = {each.check.identifier: each for each in results}
    for each in results:
        if each.check.spec in ("versioning", "echo", "framing", "codec", "gossip", "kad"):
            assert each.outcome is Outcome.NOT_APPLICABLE and "does not offer" in each.said
    for identifier in ("MSS-001", "SEC-001", "SEC-002", "YMX-003", "YMX-004", "IDF-001", "PNG-001"):
        assert outcomes[identifier].outcome is Outcome.PASSED


def test_errors_have_numbers() -> None:
    for kind, number in ((CheckFailed, "FOG-CNF-001"), (NotApplicable, "FOG-CNF-002")):
        with pytest.raises(kind) as caught:
            raise kind("told")
        assert caught.value.number == number
        assert (ROOT / "docs" / "errors" / f"{number}.md").read_text().startswith(f"# {number}: ")
