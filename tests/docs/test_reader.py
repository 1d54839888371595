"""The reader of pages sees when a page is wrong: otherwise its tests prove nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .machine import PageFailed
from .markdown import read
from .reader import Reader

pytestmark = pytest.mark.process


def _follow(tmp_path: Path, *lines: str) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n" + "\n".join(lines) + "\n", "utf-8")
    Reader(read(page)).follow()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("```sh", "false", "```"), "ended with 1"),
        (("```sh", "fogp2p frobnicate", "```"), "ended with 2"),
        (("```sh", "fogp2p status", "```"), "ended with 3"),
        (("```sh other", "exit 0", "```"), "did not end"),
        (("```sh elsewhere", "true", "```"), "no machine 'elsewhere'"),
        (("```console", "$ echo one; echo two", "two", "one", "```"), "should print"),
        (("```console", "$ echo 7 days", "7 nights", "```"), "should print"),
        (("```sh", "fogp2p join 7-copper-lake", "```"), "nothing before it printed"),
        (("```python", "raise SystemExit(4)", "```"), "ended with 4"),
        (("```python", "def test_x():", "    assert False", "```"), "ended with 1"),
        (("```python saved.py", "print()", "```"), "no line runs ['saved.py']"),
        (("```rust", "fn main() {}", "```"), "'rust'"),
    ],
)
def test_a_wrong_page_fails(lines: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(PageFailed, match=said.replace("[", r"\[")):
        _follow(tmp_path, *lines)


def test_mistakes_in_files_are_seen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not end"):
        _follow(tmp_path, "```sh", "true")
    with pytest.raises(PageFailed, match=r"page.md:3: Expecting"):
        _follow(tmp_path, "```json", "[1 2]", "```")
    with pytest.raises(PageFailed, match=r"the nearest is network\.target_peers"):
        _follow(tmp_path, "```toml", "[network]", "target_pers = 1", "```")


def test_a_shell_keeps_what_it_was_told_and_two_machines_are_two(tmp_path: Path) -> None:
    _follow(
        tmp_path,
        "```sh",
        "X=4",
        "cd /tmp",
        "cat > $HOME/note <<'END'",
        "$X `lines`",
        "END",
        "```",
        "```console",
        "$ echo $X; pwd; cat $HOME/note",
        "12.5",
        "/tmp",
        "$X ...",
        "```",
        "```sh other",
        'test -z "$X" && test ! -e ~/note',
        "```",
    )


def test_what_runs_until_ctrl_c_is_interrupted_and_nothing_is_left(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    _follow(
        tmp_path,
        "```python shout.py",
        "import os, pathlib, time",
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))",
        "print('at /ip4/', flush=True)",
        "try:",
        "    time.sleep(60)",
        "except KeyboardInterrupt:",
        f"    pathlib.Path({str(pid)!r}).with_suffix('.heard').touch()",
        "```",
        "```sh",
        "python shout.py",
        "```",
    )
    assert pid.with_suffix(".heard").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_page_that_fails_leaves_no_peer_behind(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with pytest.raises(PageFailed, match="ended with 1"):
        _follow(tmp_path, "```sh", f"fogp2p --json up -d >{said}", "false", "```")
    pid = json.loads(said.read_text("utf-8"))["pid"]
    for _ in range(1000):  # whoever reaps it takes a moment
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text("utf-8"):
            return
        os.sched_yield()
    raise AssertionError(f"process {pid} is still there")
