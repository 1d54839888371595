"""Jobs, requesters and workers that do not mean well (attacks 62-71)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import trio
import wasmtime

from fogp2p.errors import LocalProtocolError
from fogp2p.limits import MIB
from fogp2p.sandbox import Ending, Job, Kind, Limits, Sandbox, SandboxUnavailable
from fogp2p.sandbox.engine import make_engine

HEAD = """(module
 (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
"""


def wat(body: str, memory: str = "2") -> bytes:
    head = f'{HEAD} (memory (export "memory") {memory})'
    return bytes(wasmtime.wat2wasm(head + body + ")"))


def command(module: bytes, **limits: object) -> Job:
    return Job(Kind.WASI_COMMAND, module, limits=Limits(**limits))  # type: ignore[arg-type]


def python(source: str, **options: object) -> Job:
    return Job(Kind.PY_FUNC, source.encode(), "f", **options)  # type: ignore[arg-type]


HELLO = wat('(func (export "_start"))')
LOOP = wat('(func (export "_start") (loop (br 0)))')
# Sleeps 30 s inside a host call, where the engine's own deadline does not reach.
SLEEP = wat("""(func (export "_start")
 (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 16) (i32.const 1))
 (i64.store (i32.const 24) (i64.const 30000000000))
 (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))))""")


async def still_works(box: Sandbox) -> None:
    assert (await box.run(command(HELLO))).succeeded


@pytest.mark.spec("SBX-010")
@pytest.mark.attack(62)
async def test_endless_work_ends(box: Sandbox) -> None:
    fuel = await box.run(command(LOOP, fuel=1_000_000))
    assert fuel.ending is Ending.FUEL and fuel.usage.fuel == 1_000_000
    for module, wall in ((LOOP, 0.3), (SLEEP, 0.3)):
        start = time.monotonic()
        result = await box.run(command(module, wall_s=wall, fuel=10**15))
        assert result.ending is Ending.WALL, result
        # The fuel would last for days; ten seconds are a machine full of other work.
        assert wall <= time.monotonic() - start < wall + 10
    deep = wat('(func $f (call $f)) (func (export "_start") (call $f))')
    assert (await box.run(command(deep))).ending is Ending.TRAP
    python_loop = await box.run(python("def f():\n  while True: pass", limits=Limits(wall_s=0.5)))
    assert python_loop.ending is Ending.WALL
    await still_works(box)


@pytest.mark.spec("SBX-012")
@pytest.mark.attack(63)
async def test_memory_stays_within_its_limit(box: Sandbox) -> None:
    grow = wat("""(func (export "_start") (local $at i32)
     (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
     (loop (i32.store (local.get $at) (i32.const 1))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if 0 (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))))""")
    worker = psutil.Process(box._idle[0].pid)
    before = worker.memory_info().rss
    result = await box.run(command(grow, memory=32 * MIB))
    assert result.succeeded
    assert result.usage.resident - before <= 32 * MIB + 32 * MIB
    huge = wat('(func (export "_start"))', "65536")
    assert (await box.run(command(huge, memory=32 * MIB))).ending in (
        Ending.MEMORY,
        Ending.REFUSED,
    )
    tables = wat(
        '(table 0 funcref) (func (export "_start") (loop (br_if 0 (i32.ne '
        "(table.grow (ref.null func) (i32.const 10000)) (i32.const -1)))))"
    )
    assert (await box.run(command(tables))).succeeded
    hog = await box.run(python("def f():\n  x = []\n  while True: x.append(bytes(1 << 20))"))
    assert hog.ending in (Ending.RAISED, Ending.TRAP) and hog.usage.resident < 512 * MIB
    await still_works(box)


def _leb(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _section(number: int, body: bytes) -> bytes:
    return bytes([number]) + _leb(len(body)) + body


def _many_functions(count: int, body: bytes) -> bytes:
    types = _section(1, b"\x01\x60\x00\x00")
    functions = _section(3, _leb(count) + bytes(count))
    code = _section(10, _leb(count) + (_leb(len(body)) + body) * count)
    return b"\0asm\x01\0\0\0" + types + functions + code


DEEP = b"\0" + b"\x02\x40" * 10**6 + b"\x0b" * (10**6 + 1)
LARGE = b"\0" + b"\x41\x00\x1a" * 2_500_000 + b"\x0b"


@pytest.mark.spec("SBX-014")
@pytest.mark.attack(64)
@pytest.mark.parametrize("bomb", ["many functions", "deep blocks", "one large function"])
async def test_compile_bombs_are_stopped(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    monkeypatch.setattr("fogp2p.sandbox.cache.COMPILE_CPU_S", 2)
    module = {
        "many functions": lambda: _many_functions(900_000, b"\x00\x41\x00\x1a\x41\x00\x1a\x0b"),
        "deep blocks": lambda: _many_functions(
            1, b"\0" + b"\x02\x40" * 10**6 + b"\x0b" * (10**6 + 1)
        ),
        "one large function": lambda: _many_functions(
            1, b"\0" + b"\x41\x00\x1a" * 2_500_000 + b"\x0b"
        ),
    }[bomb]()
    start = time.monotonic()
    result = await box.run(command(module))
    assert result.ending in (Ending.COMPILE_LIMIT, Ending.REFUSED), result
    # Two seconds of the processor, of which a busy machine may give a tenth.
    assert time.monotonic() - start < 30
    await still_works(box)


ESCAPES = """
import os
def f():
    found = {}
    for path in ['/etc/passwd', '/in/../../../etc/passwd', '/proc/self/environ', '/in/../../stdin',
                 '../../../../etc/passwd', '/dev/mem', '/']:
        try:
            found[path] = open(path).read()[:20] if path != '/' else ','.join(os.listdir('/'))
        except Exception as exc:
            found[path] = type(exc).__name__
    try:
        os.symlink('/etc/passwd', '/out/link')
        found['link'] = open('/out/link').read()[:20]
    except Exception as exc:
        found['link'] = type(exc).__name__
    try:
        open('/in/a', 'w')
        found['write'] = 'written'
    except Exception as exc:
        found['write'] = type(exc).__name__
    found['environ'] = dict(os.environ)
    return found
"""


@pytest.mark.spec("SBX-003")
@pytest.mark.attack(65)
async def test_a_guest_sees_its_own_files_only(box: Sandbox) -> None:
    result = await box.run(python(ESCAPES, inputs={"a": b"mine"}, outputs=["link"]))
    assert result.succeeded, result.message
    found = json.loads(result.value)
    assert found.pop("environ") == {} and found.pop("/") in ("", "in,out", "FileNotFoundError")
    assert all(value.endswith("Error") for value in found.values()), found
    assert result.outputs == {}


@pytest.mark.spec("SBX-020")
@pytest.mark.attack(65)
async def test_a_worker_has_its_pipes_and_no_environment(box: Sandbox) -> None:
    worker = psutil.Process(box._idle[0].pid)
    assert worker.environ() == {}
    folder = f"/proc/{worker.pid}/fd"
    held = {name: os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
    assert held["0"].startswith("pipe:") and held["1"].startswith("pipe:")
    assert held["2"] == "/dev/null"
    others = {target for name, target in held.items() if name not in "012"}
    known = ("anon_inode:", "pipe:", "/memfd:", f"/proc/{worker.pid}/statm")
    assert all(target.startswith(known) for target in others), held


# What somebody tries who has broken out of wasmtime: native code in the worker's process.
BROKEN_OUT = """
import ctypes, json, os, socket, subprocess, sys, threading
from pathlib import Path
from fogp2p.sandbox.walls import raise_walls
secret, scratch, parent = sys.argv[1:]
walls = raise_walls(readable=[], writable=[Path(scratch)], data_bytes=1 << 30, file_bytes=1 << 20)
def attempt(what):
    try:
        what()
        return "done"
    except BaseException as exc:
        return type(exc).__name__
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
found = {
    "internet": attempt(lambda: socket.create_connection(("127.0.0.1", 1), 1)),
    "unix": attempt(lambda: socket.socket(socket.AF_UNIX).connect("/run/any")),
    "listen": attempt(lambda: socket.socket().bind(("127.0.0.1", 0))),
    "fork": attempt(os.fork),
    "exec": attempt(lambda: os.execv("/bin/true", ["true"])),
    "spawn": attempt(lambda: subprocess.run(["/bin/true"])),
    "ptrace": attempt(lambda: call(101, 16, int(parent), 0, 0)),
    "kill": attempt(lambda: os.kill(int(parent), 0)),
    "read secret": attempt(lambda: open(secret).read()),
    "read passwd": attempt(lambda: open("/etc/passwd").read()),
    "parent environ": attempt(lambda: open(f"/proc/{parent}/environ").read()),
    "write home": attempt(lambda: open(os.path.join(os.path.dirname(secret), "x"), "w")),
    "list root": attempt(lambda: os.listdir("/")),
    "mount": attempt(lambda: call(165, 0, 0, 0, 0, 0)),
    "namespace": attempt(lambda: call(272, 0x10000000)),
    "bpf": attempt(lambda: call(321, 0, 0, 0)),
    "io_uring": attempt(lambda: call(425, 1, 0)),
    "keyring": attempt(lambda: call(250, 0, -3, 0)),
    "large file": attempt(lambda: open(os.path.join(scratch, "big"), "wb").write(bytes(2 << 20))),
}
allowed = {
    "own file": attempt(lambda: open(os.path.join(scratch, "mine"), "w").write("x")),
    "thread": attempt(lambda: threading.Thread(target=int).start()),
}
print(json.dumps({"walls": walls, "found": found, "allowed": allowed}))
"""


@pytest.mark.spec("SBX-020")
@pytest.mark.attack(66, 67)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="uses x86-64 system call numbers")
def test_whoever_breaks_out_finds_an_empty_room(tmp_path: Path) -> None:
    secret, scratch = tmp_path / "identity", tmp_path / "scratch"
    secret.write_text("key")
    secret.chmod(0o600)
    scratch.mkdir()
    line = [sys.executable, "-I", "-c", BROKEN_OUT, str(secret), str(scratch), str(os.getpid())]
    done = subprocess.run(line, capture_output=True, text=True, env={}, start_new_session=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    needed = {"landlock", "seccomp"}
    missing = {name: why for name, why in told["walls"].items() if why and name in needed}
    if missing:
        pytest.skip(f"this kernel has no such walls: {missing}")
    assert told["allowed"] == {"own file": "done", "thread": "done"}
    got_through = {name for name, how in told["found"].items() if how == "done"}
    assert got_through == set(), told["found"]


@pytest.mark.spec("SBX-020")
def test_a_worker_outlives_the_thread_that_started_it_and_not_the_process(tmp_path: Path) -> None:
    """Killed with -9, the process that started workers leaves none behind."""
    program = """
import sys, threading, time
from pathlib import Path
import trio
from fogp2p.environment import real_environment
from fogp2p.sandbox import SandboxConfig, open_sandbox
trio._core._thread_cache.IDLE_TIMEOUT = 0.2  # instead of ten seconds
async def main():
    async with open_sandbox(SandboxConfig(Path(sys.argv[1]), workers=1), real_environment()) as box:
        pid = box._idle[0].pid
        # Trio ends idle threads; on a busy machine the one that started the worker is gone by now.
        while threading.active_count() > 1:
            await trio.sleep(0.05)
        print(pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    try:
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    worker.wait(5)


@pytest.mark.attack(66)
async def test_a_guest_has_no_network(box: Sandbox) -> None:
    source = "def f():\n  import socket\n  s = socket.socket()\n  s.connect(('127.0.0.1', 80))"
    result = await box.run(python(source))
    assert result.ending in (Ending.RAISED, Ending.TRAP)


@pytest.mark.spec("SBX-013")
@pytest.mark.attack(68)
async def test_a_flood_of_output_is_cut_and_ended(box: Sandbox) -> None:
    flood = wat("""(func (export "_start")
     (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 65536))
     (loop (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0)))""")
    lags: list[float] = []

    async def tick() -> None:
        while True:
            start = trio.current_time()
            await trio.sleep(0.005)
            lags.append(trio.current_time() - start - 0.005)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        result = await box.run(command(flood, wall_s=20, fuel=10**15))
        nursery.cancel_scope.cancel()
    assert result.ending is Ending.OUTPUT
    assert len(result.stdout) <= 400_000 and result.dropped > 60_000_000
    assert max(lags) < 1.0  # the figure is a benchmark's
    await still_works(box)


@pytest.mark.spec("SBX-013")
@pytest.mark.attack(69)
@pytest.mark.parametrize(
    "write",
    [
        "for n in range(100_000): open(f'/out/{n}', 'w').close()",
        "for n in range(100_000): os.mkdir(f'/out/{n}')",
        "x = open('/out/a', 'wb')\n  while True: x.write(bytes(1 << 20)); x.flush()",
    ],
)
async def test_files_fill_nothing(box: Sandbox, write: str) -> None:
    job = python(
        f"import os\ndef f():\n  {write}", outputs=["a"], limits=Limits(wall_s=20, fuel=10**13)
    )
    result = await box.run(job)
    assert result.ending is Ending.OUTPUT, result
    with trio.fail_after(10):
        while list(box._scratch.glob("*/out")):  # noqa: ASYNC110
            await trio.sleep(0.05)
    await still_works(box)


SAYS_HELLO = """
import os, sys, time
from fogp2p.codec import encode
from fogp2p.framing import encode_frame
def w(data): os.write(1, data)
w(encode_frame(encode({1: {}, 2: 'liar'})))
os.read(0, 1)
"""


@pytest.mark.spec("SBX-030")
@pytest.mark.attack(70)
@pytest.mark.parametrize(
    ("after", "ending"),
    [
        ("w(b'garbage'*1000)", Ending.LOST),
        ("w(b'\\xff'*20)", Ending.LOST),
        ("w(b'\\x80\\x80\\x80\\x80\\x10')", Ending.LOST),
        ("w(encode_frame(encode({1:'result',2:0,3:0,4:0,5:0,6:b'bytes',7:''})))", Ending.LOST),
        ("w(encode_frame(encode({1:'promoted',2:0,3:0,4:0,5:0,6:'',7:''})))", Ending.LOST),
        ("sys.exit(0)", Ending.LOST),
        ("time.sleep(60)", Ending.WALL),
    ],
)
async def test_a_worker_that_was_taken_over_harms_its_job_only(
    opened, after: str, ending: Ending
) -> None:
    program = f"{SAYS_HELLO}{after}\ntime.sleep(60)"
    async with opened(command=[sys.executable, "-c", program]) as box:
        with trio.fail_after(10):
            result = await box.run(command(HELLO, wall_s=0.5))
        assert result.ending is ending and result.outputs == {}


@pytest.mark.attack(68)
@pytest.mark.parametrize("value", ["\\x1b[2J", "[" * 3_000, "1" * 9_000, "{"])
def test_a_function_that_forges_its_value_breaks_nobody(
    tmp_path: Path, cache: Path, value: str
) -> None:
    """The guest writes the JSON itself: it may say anything instead."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "sandbox").symlink_to(cache)
    source = f"import json\njson.dumps = lambda *a, **k: '{value}'\ndef main():\n  return 1\n"
    (tmp_path / "forge.py").write_text(source)
    line = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path), "sandbox", "run"]
    done = subprocess.run(
        [*line, "forge.py:main"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and done.stdout == ""
    said, more = done.stderr.splitlines()
    assert said == "fogp2p: FOG-PROTO-002 the job's value is no JSON"
    assert more == "  more: fogp2p docs FOG-PROTO-002"


@pytest.mark.attack(70)
async def test_a_worker_that_never_says_hello_is_a_clear_error(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fogp2p.sandbox.process.START_TIMEOUT_S", 0.5)
    for program in ("import time; time.sleep(60)", "print('hello')", "raise SystemExit(1)"):
        with pytest.raises(SandboxUnavailable):
            async with opened(command=[sys.executable, "-c", program]):
                pass


@pytest.mark.spec("SBX-002")
@pytest.mark.attack(71)
def test_native_code_pickles_and_archives_are_refused_by_type() -> None:
    serialized = bytes(wasmtime.Module(make_engine(), HELLO).serialize())
    for code in (serialized, pickle.dumps(print), b"PK\x03\x04" + bytes(100), b"", b"\x7fELF"):
        for kind in (Kind.WASI_COMMAND, Kind.COMPONENT):
            with pytest.raises(LocalProtocolError):
                Job(kind, code)


@pytest.mark.attack(71)
async def test_native_code_behind_a_wasm_head_is_refused(box: Sandbox) -> None:
    serialized = bytes(wasmtime.Module(make_engine(), HELLO).serialize())
    for module in (b"\0asm" + serialized, HELLO[:-3], b"\0asm\x01\0\0\0" + bytes(100)):
        result = await box.run(command(module))
        assert result.ending is Ending.REFUSED and result.message
    component = await box.run(Job(Kind.COMPONENT, HELLO))
    assert component.ending is Ending.REFUSED
