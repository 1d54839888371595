"""Readers that share no code with the library agree with the vectors, and are no rubber stamps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "readers"
SPECS = Path(__file__).parents[2] / "specs"


def _run(specs: Path) -> subprocess.CompletedProcess[str]:
    # -I: nothing of this directory or of the environment is on the path but what is installed.
    line = [sys.executable, "-I", str(FOLDER / "run.py"), str(specs)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


def test_every_specification_is_read_or_has_no_vectors() -> None:
    done = _run(SPECS)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {line.split(":")[0] for line in done.stdout.splitlines()}
    assert told == {path.parent.name for path in SPECS.glob("*/*-v*.md")}


def test_a_specification_that_nobody_reads_is_a_fault(tmp_path: Path) -> None:
    new = tmp_path / "novel"
    new.mkdir()
    (new / "novel-v1.md").write_text("# Novel\n")
    done = _run(tmp_path)
    assert done.returncode == 1 and "novel: NOBODY READS IT" in done.stdout


def test_vectors_that_appear_where_none_were_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "kad" / "vectors" / "v1").mkdir(parents=True)
    (tmp_path / "kad" / "kad-v1.md").write_text("# Kad\n")
    assert _run(tmp_path).returncode == 1


def _flip(text: str) -> str:
    """The hexadecimal text with its last digit changed."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def _in(group: str, number: int, field: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        case = document[group][number]
        case[field] = _flip(case[field])

    return change


def _message(document: Any) -> None:
    case = document["transcript"][0]["messages"][0]
    case["ciphertext"] = _flip(case["ciphertext"])


def _packet(document: Any) -> None:
    document["forward_v2"]["packet_hex"] = _flip(document["forward_v2"]["packet_hex"])


def _frame(document: Any) -> None:
    frames = document["transcript"][0]["frames"]
    frames[-1] = _flip(frames[-1])


def _first(document: Any, kind: str) -> int:
    return next(n for n, case in enumerate(document["valid"]) if case["kind"] == kind)


def _tag(document: Any) -> None:
    said = document["transcript"][0]["said"][-1]
    said["bytes"] = _flip(said["bytes"])


def _verdict(document: Any) -> None:
    document["transcript"][0]["entries"][-1]["verdict"] = "muted"


CHANGES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "bitchat": ("packets.json", _in("valid", 0, "encoded")),
    "blob": ("blobs.json", lambda d: _in("valid", _first(d, "content"), "cid")(d)),
    "codec": ("messages.json", lambda d: d["valid"].append({"name": "x", "encoded": "1800"})),
    "echo": ("streams.json", _in("valid", 3, "answered")),
    "framing": ("frames.json", _in("valid", 1, "stream")),
    "gossip": ("messages.json", _in("valid", 0, "encoded")),
    "invite": ("transcripts.json", _tag),
    "log": ("logs.json", _verdict),
    "lottery": ("draws.json", _in("valid", 1, "seed")),
    "mix": ("packets.json", _packet),
    "noise": ("cacophony.json", _message),
    "registry": ("descriptors.json", _in("valid", 0, "encoded")),
    "versioning": ("transcripts.json", _frame),
}


def test_every_reader_is_seen_to_notice() -> None:
    read = {path.parents[1].name for path in SPECS.glob("*/vectors/v1")}
    assert set(CHANGES) == read


@pytest.mark.parametrize("spec", CHANGES)
def test_a_changed_digit_is_noticed(spec: str, tmp_path: Path) -> None:
    shutil.copytree(SPECS / spec, tmp_path / spec)
    name, change = CHANGES[spec]
    path = tmp_path / spec / "vectors" / "v1" / name
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")
    assert _run(tmp_path).returncode == 1


def test_no_reader_is_longer_than_a_page_or_imports_the_library() -> None:
    for path in FOLDER.glob("*.py"):
        lines = [each for each in path.read_text("utf-8").splitlines() if each.strip()]
        body = [each for each in lines if not each.startswith(("import ", "from "))]
        assert len(body) <= 80, path.name
        assert "fogp2p" not in "".join(each for each in lines if "import" in each)
