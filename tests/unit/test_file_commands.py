"""The commands for files without a peer: names, checks, the line that tells the progress."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from fogp2p.cli.commands import get
from fogp2p.cli.commands.blobs import _lines
from fogp2p.cli.exits import Refused
from fogp2p.cli.output import Output, size
from fogp2p.cli.transfers import follow
from fogp2p.client import PeerSaid
from fogp2p.errors import DeadlineExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.blob import CHUNK_BYTES, make_manifest
from fogp2p.protocols.blob.answers import key_of_text, key_text

NAMES = ["../../etc/passwd", "/etc/passwd", "..", ".ssh", "a\\b\\..\\c", "C:\\x", "\x1b[2Jx", ""]
CID = "bafirei" + "a" * 52


@pytest.mark.attack(132)
@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "..", ".ssh", "a\\b\\..\\c", "C:\\x", "\x1b[2Jx", ""],
)
def test_a_name_from_a_peer_stays_in_the_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for target in (None, tmp_path):
        path = get._path(target, name, CID)
        assert path.parent == tmp_path and path.name.isprintable()
        assert not path.name.startswith(".")


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    whole, target = tmp_path / ".part", tmp_path / "target"
    whole.write_bytes(b"new")
    target.write_bytes(b"old")
    with pytest.raises(Refused):
        get._check_free(target, False)
    with pytest.raises(Refused):  # somebody made it while we were fetching
        get._name(whole, target, False)
    assert target.read_bytes() == b"old"
    get._name(whole, target, True)
    assert target.read_bytes() == b"new"
    target.unlink()
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        get._check_free(target, False)


def test_without_hard_links_the_file_still_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, other: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    whole, target = tmp_path / ".part", tmp_path / "target"
    whole.write_bytes(b"new")
    get._name(whole, target, False)
    assert target.read_bytes() == b"new" and not whole.exists()


def test_a_content_is_checked_against_its_name_before_it_gets_one() -> None:
    content = bytes(range(256)) * 3_000
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
    hashes = [hashlib.sha256(chunk).digest() for chunk in chunks]
    cid, _, _ = make_manifest(len(content), hashes)
    for given, right in ((content, True), (content[:-1] + b"!", False), (content[:-1], False)):
        file = io.BytesIO()
        checked = get._Checked(len(content), None, file)
        for at in range(0, len(given), 1_000):
            checked.take(given[at : at + 1_000])
        if right:
            checked.end(cid)
            assert file.getvalue() == content
        else:
            with pytest.raises((RemoteProtocolError, LocalProtocolError)):
                checked.end(cid)


def test_keys_are_read_as_they_are_printed() -> None:
    key = bytes(range(32))
    assert key_of_text(key_text(key)) == key
    for text in ("", "abc", key_text(key) + "A", key_text(key)[:-1] + "9", "ä" * 43):
        with pytest.raises(LocalProtocolError):
            key_of_text(text)


def test_sizes_are_for_people() -> None:
    shown = [size(n) for n in (0, 1023, 1024, 1_600_000, 2**40)]
    assert shown == ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1024.0 GiB"]


class _Peer:
    """Answers with one state of a transfer after another, the last one for ever."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states = list(states)

    def get(self, route: str) -> dict[str, Any]:
        assert route == "transfers/t1"
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


def _transfer(done: int, state: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "id": "t1",
        "kind": "fetch",
        "state": state,
        "name": "a\x1b[2J.bin",
        "cid": CID,
        "size_bytes": 1_000_000,
        "done_bytes": done,
        "rate": 500_000.0,
        "eta_s": 1.0,
        "sources": [{"peer_id": "x", "chunks": 1}],
        "code": "",
        "why": "",
        "hint": "",
    } | changes


@pytest.mark.attack(138)
def test_progress_is_a_line_for_each_tenth_off_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    steps = [_transfer(done) for done in range(0, 1_000_000, 20_000)]
    peer: Any = _Peer(*steps, _transfer(1_000_000, "done"))
    assert follow(Output(), peer, _transfer(0))["state"] == "done"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and "\x1b" not in "".join(lines)
    assert lines[3].endswith("293.0 KiB of 976.6 KiB, 488.3 KiB/s, 1.0 s left, 1 sources")


def test_on_a_terminal_it_is_one_line_that_is_painted_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    peer: Any = _Peer(_transfer(500_000), _transfer(1_000_000, "done"))
    follow(Output(), peer, _transfer(0))
    painted = capsys.readouterr().err
    assert painted.count("\n") == 1 and painted.endswith("\n")
    assert [part.count("fetch a\ufffd[2J.bin: ") for part in painted.split("\r")] == [0, 1, 1, 1]


def test_a_transfer_that_stands_still_or_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + 1))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    peer: Any = _Peer(_transfer(5))
    with pytest.raises(DeadlineExceeded, match="goes on trying"):
        follow(Output(timeout_s=5), peer, _transfer(5))
    assert 5 < now[0] < 8
    failed = _transfer(5, "failed", code="FOG-LIM-001", why="no room", hint="unpin some")
    peer = _Peer(failed)
    with pytest.raises(PeerSaid, match="no room") as caught:
        follow(Output(), peer, _transfer(5))
    assert (caught.value.code, caught.value.status) == ("FOG-LIM-001", 503)


@pytest.mark.attack(138)
def test_names_of_blobs_move_no_cursor() -> None:
    blob = {
        "cid": CID,
        "name": "a\x1b[31m",
        "size_bytes": 5,
        "whole": False,
        "present": 1,
        "chunks": 2,
        "pinned": True,
        "shared": False,
    }
    summary = {"used_bytes": 5, "quota_bytes": 10, "kept": 1, "running": 1}
    found = {
        "summary": summary,
        "problem": "",
        "blobs": [blob],
        "transfers": [_transfer(1), _transfer(1, "failed", why="gone\x1b[1m")],
    }
    shown = "\n".join(_lines(found))
    assert "\x1b" not in shown and "1 of 2" in shown and "failed: gone" in shown
