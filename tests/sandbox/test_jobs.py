"""Jobs that mean well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import wasmtime

from fogp2p.errors import LimitExceeded, LocalProtocolError
from fogp2p.sandbox import Ending, Job, Kind, Limits, Sandbox, SandboxConfig, SandboxUnavailable
from fogp2p.sandbox.config import MAX_MODULE_BYTES
from fogp2p.sandbox.output import Log

HEAD = """(module
 (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_read" (func $r (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "clock_time_get" (func $c (param i32 i64 i32) (result i32)))
 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
 (memory (export "memory") 2)
 (func $say (param $at i32) (param $len i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
  (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""


def wat(body: str) -> bytes:
    return bytes(wasmtime.wat2wasm(HEAD + body + ")"))


HELLO = wat(
    '(data (i32.const 16) "hello\\n")'
    '(func (export "_start") (call $say (i32.const 16) (i32.const 6)) (call $exit (i32.const 3)))'
)
CAT = wat("""(func (export "_start")
 (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1000))
 (drop (call $r (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
 (call $say (i32.const 64) (i32.load (i32.const 8))))""")
CHANCE = wat("""(func (export "_start")
 (drop (call $random (i32.const 64) (i32.const 32)))
 (drop (call $c (i32.const 0) (i64.const 0) (i32.const 96)))
 (call $say (i32.const 64) (i32.const 40)))""")


def command(module: bytes, **options: object) -> Job:
    return Job(Kind.WASI_COMMAND, module, **options)  # type: ignore[arg-type]


def python(source: str, *args: object, **options: object) -> Job:
    return Job(Kind.PY_FUNC, source.encode(), "f", args, **options)  # type: ignore[arg-type]


async def test_a_command_says_something_and_exits(box: Sandbox) -> None:
    result = await box.run(command(HELLO))
    assert (result.ending, result.exit_code, result.stdout) == (Ending.EXIT, 3, b"hello\n")
    assert not result.succeeded and result.usage.fuel > 0
    assert result.runtime.startswith("wasmtime-50.0.1")


async def test_a_command_reads_its_input_and_the_next_job_does_not(box: Sandbox) -> None:
    first = await box.run(command(CAT, stdin=b"from outside"))
    assert first.succeeded and first.stdout == b"from outside"
    assert (await box.run(command(CAT))).stdout == b""


@pytest.mark.spec("SBX-011", "SBX-015")
async def test_strict_jobs_repeat_themselves(box: Sandbox) -> None:
    runs = [await box.run(command(CHANCE, strict=True)) for _ in range(3)]
    assert len({run.stdout for run in runs}) == 1 and len({run.usage.fuel for run in runs}) == 1
    other = await box.run(command(CHANCE, strict=True, seed=b"x" * 32))
    loose = [await box.run(command(CHANCE)) for _ in range(2)]
    assert len({run.stdout for run in (runs[0], other, *loose)}) == 4
    source = (
        "import random, time\ndef f():\n  return [random.random(), time.time(), time.monotonic()]"
    )
    found = [await box.run(python(source, strict=True)) for _ in range(3)]
    assert {run.ending for run in found} == {Ending.RESULT}
    assert len({(run.value, run.usage.fuel) for run in found}) == 1


async def test_python_functions(box: Sandbox) -> None:
    result = await box.run(python("def f(a, b):\n  print('hi')\n  return {'sum': a + b}", 20, 22))
    assert result.succeeded and json.loads(result.value) == {"sum": 42}
    assert result.stdout == b"hi\n"
    raised = await box.run(python("def f():\n  return 1 / 0"))
    assert raised.ending is Ending.RAISED and "ZeroDivisionError" in raised.message + raised.value
    missing = await box.run(python("def g(): pass"))
    assert missing.ending is Ending.RAISED and "KeyError" in missing.message + missing.value
    broken = await box.run(python("def f(: pass"))
    assert broken.ending is Ending.RAISED and "SyntaxError" in broken.message + broken.value


async def test_files_go_in_and_come_out(box: Sandbox) -> None:
    source = "def f():\n  open('/out/b', 'w').write(open('/in/a').read().upper())"
    job = python(source, inputs={"a": b"some text"}, outputs=["b", "never-written"])
    result = await box.run(job)
    assert result.succeeded, result.message
    assert dict(result.outputs) == {"b": b"SOME TEXT"}
    again = await box.run(python("import os\ndef f():\n  return os.listdir('/')"))
    assert json.loads(again.value or "[]") == []


@pytest.mark.spec("SBX-001")
async def test_nothing_is_left_for_the_next_job(box: Sandbox) -> None:
    leave = "import builtins, math\ndef f():\n  builtins.trace = math.trace = 1"
    look = "import builtins, math\ndef f():\n  return 'trace' in {*vars(builtins), *vars(math)}"
    assert (await box.run(python(leave))).succeeded
    assert (await box.run(python(look))).value == "false"


async def test_many_jobs_at_once_and_a_queue_that_ends(opened) -> None:
    async with opened(workers=2) as box:
        results = []

        async def one(n: int) -> None:
            results.append(json.loads((await box.run(python("def f(n): return n * n", n))).value))

        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(one, n)
        assert sorted(results) == [n * n for n in range(20)]
        object.__setattr__(box.config, "queue_s", 0.2)
        loop = python("def f():\n  while True: pass", limits=Limits(wall_s=1.5))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.run, loop)
            nursery.start_soon(box.run, loop)
            await trio.sleep(0.2)
            with pytest.raises(LimitExceeded):
                await box.run(command(HELLO))


async def test_a_killed_worker_loses_its_job_and_is_replaced(box: Sandbox) -> None:
    worker = box._idle[0]
    loop = python("def f():\n  while True: pass", limits=Limits(wall_s=20))
    results = []

    async def run() -> None:
        results.append(await box.run(loop))

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(0.5)
            os.kill(worker.pid, signal.SIGKILL)
    assert results[0].ending is Ending.LOST
    assert (await box.run(command(HELLO))).exit_code == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: python("x" * 300_000),
        lambda: Job(Kind.PY_FUNC, b"", "not a name"),
        lambda: command(HELLO, inputs={"../a": b""}),
        lambda: command(HELLO, outputs=[".hidden"]),
        lambda: command(HELLO, outputs=["a"] * 17),
        lambda: command(HELLO, seed=b"short"),
        lambda: command(b"\0asm" + bytes(MAX_MODULE_BYTES)),
        lambda: Limits(fuel=0),
        lambda: Limits(memory=2**40),
        lambda: Limits(wall_s=0),
        lambda: python("def f(): pass", object()).arguments(),
        lambda: Job(Kind.PY_FUNC, b"\xff", "f").arguments(),
    ],
)
def test_local_mistakes(make) -> None:
    with pytest.raises(LocalProtocolError):
        make()


async def test_a_machine_without_wasmtime_says_what_to_type(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fogp2p.sandbox.sandbox.version", lambda name: "49.0.0")
    with pytest.raises(SandboxUnavailable) as caught:
        async with opened():
            pass
    assert "50.0.1" in str(caught.value) and "fogp2p[compute]" in caught.value.hint


async def test_an_altered_runner_is_not_used(tmp_path: Path, cache: Path) -> None:
    from fogp2p.sandbox.runner import build_runner, runner_path

    copy = runner_path(tmp_path)
    copy.write_bytes(runner_path(cache).read_bytes() + b"x")
    copy.with_suffix(".sha256").write_bytes(runner_path(cache).with_suffix(".sha256").read_bytes())
    with pytest.raises(SandboxUnavailable, match="altered"):
        build_runner(tmp_path)


async def test_logs_keep_head_and_tail(tmp_path: Path) -> None:
    log = Log(tmp_path / "fifo")
    handle = os.open(tmp_path / "fifo", os.O_WRONLY)
    for n in range(40):
        os.write(handle, bytes([n]) * 20_000)
        log.drain()
    assert log.total == 800_000 and log.text.startswith(bytes(20_000))
    assert log.text.endswith(bytes([39]) * 20_000)
    assert len(log.text) + log.dropped == log.total
    assert len(log.text) <= (64 + 256) * 1024 + 65_536
    os.close(handle)
    log.close()


def test_the_command_line(tmp_path: Path, cache: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "sandbox").symlink_to(cache)
    (tmp_path / "double.py").write_text("def main(n):\n  print('\\x1b[2Jhi')\n  return n * 2\n")
    (tmp_path / "hello.wasm").write_bytes(HELLO)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path), *words]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run("sandbox", "run", "double.py:main", "--args", "[21]")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\ufffd[2Jhi\n42\n" and "fuel" in done.stderr
    done = run("--json", "sandbox", "run", "hello.wasm")
    assert done.returncode == 10
    assert json.loads(done.stdout)["stdout"] == "hello\n"
    for words, text in (
        (("sandbox", "run", "double.py"), "name the function"),
        (("sandbox", "run", "nowhere.py:f"), "cannot read"),
        (("sandbox", "run", "double.py:main", "--args", "{"), "no JSON"),
    ):
        done = run(*words)
        assert done.returncode == 2 and text in done.stderr
    done = run("--json", "sandbox", "walls")
    assert json.loads(done.stdout)["walls"]["no-new-privileges"]["stands"]


def test_the_configuration_has_a_worker_for_each_core() -> None:
    assert 1 <= SandboxConfig(Path("x")).workers <= 8
