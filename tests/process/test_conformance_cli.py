"""`fogp2p conformance` as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from fogp2p.conformance.report import ConformanceAnswer, ConformanceList
from fogp2p.schema import json_schema

MUTANTS = Path(__file__).parents[1] / "conformance" / "mutants.py"
pytestmark = pytest.mark.process


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
    line = [sys.executable, "-m", "fogp2p", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environ)


@pytest.fixture(scope="module")
def faulty() -> Iterator[str]:
    """The address of a peer that reorders echoes."""
    with subprocess.Popen(
        [sys.executable, str(MUTANTS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("reorders echoes\n")
        process.stdin.flush()
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(10)


def test_a_passing_run_exits_with_0(faulty: str) -> None:
    done = _run("conformance", faulty, "--only", "ping", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert "PNG-001" in done.stdout and "2 passed, 0 failed" in done.stdout
    assert "seed 5" in done.stdout


def test_a_failing_run_shows_what_was_said_and_how_to_repeat_it(
    faulty: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    words = ("conformance", faulty, "--only", "echo", "--seed", "5", "--patience", "1.5")
    done = _run(*words)
    assert done.returncode == 1
    assert f"repeat: fogp2p conformance {faulty} --only ECH-001 --seed 5" in done.stdout
    assert ">  " in done.stdout and "<  " in done.stdout
    told = json.loads(_run("--json", *words, "--junit", str(report)).stdout)
    suite = ElementTree.parse(report).getroot()
    assert suite.get("tests") == "3" and suite.get("failures") == "1"
    fault = suite.find("testcase/failure")
    assert fault is not None and "differs" in str(fault.get("message"))
    jsonschema.validate(told, json_schema(ConformanceAnswer, closed=True))
    assert (told["schema"], told["failed"], told["passed"]) == ("conformance/1", 1, 2)


def test_nobody_there_exits_with_5() -> None:
    peer = "12D3KooWDJTYsdzGcNFWot1MzV3mUeXrpGmBQh9JxLNKEouo4jw7"
    done = _run("conformance", f"/ip4/127.0.0.1/tcp/1/p2p/{peer}")
    assert done.returncode == 5 and "does not answer" in done.stderr


def test_wrong_use_exits_with_2(faulty: str) -> None:
    for words in (["/ip4/127.0.0.1/tcp/1"], [faulty, "--only", "ABC-001"]):
        done = _run("conformance", *words)
        assert done.returncode == 2 and done.stderr.startswith("fogp2p: FOG-PROTO-"), words
        assert "try: " in done.stderr


def test_the_list_names_checks_and_gaps() -> None:
    told = json.loads(_run("--json", "conformance", "--list").stdout)
    jsonschema.validate(told, json_schema(ConformanceList, closed=True))
    assert len(told["checks"]) > 100 and told["not_checkable"]
    assert "VER-031a" in [each["check"] for each in told["checks"]]
