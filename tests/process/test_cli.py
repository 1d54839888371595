"""The command line as a person meets it: real processes, real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SETTINGS = (
    "--set=network.listen=/ip4/127.0.0.1/tcp/0",
    "--set=discovery.mdns=false",
)
pytestmark = pytest.mark.process


def _run(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")} | variables
    line = [sys.executable, "-m", "fogp2p", "--home", str(home), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environ)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home of a running peer."""
    started = _run(tmp_path, "--json", "up", "-d", *SETTINGS)
    assert started.returncode == 0, started.stderr
    yield tmp_path
    _run(tmp_path, "down")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a peer that the tests leave running."""
    path = tmp_path_factory.mktemp("kept")
    started = _run(path, "--json", "up", "-d", *SETTINGS)
    assert started.returncode == 0, started.stderr
    yield path
    _run(path, "down")


def test_a_peer_starts_answers_and_stops(home: Path) -> None:
    status = _run(home, "--json", "status")
    answer = json.loads(status.stdout)
    assert answer["schema"] == "status/1" and answer["peers_connected"] == 0
    assert "no other peer has been seen yet" in answer["why"]
    shown = _run(home, "status").stdout
    assert answer["peer_id"] in shown and "not encrypted" in shown
    assert _run(home, "id").stdout.splitlines()[0] == answer["peer_id"]
    assert json.loads(_run(home, "--json", "peers").stdout) == {"schema": "peers/1", "peers": []}
    down = _run(home, "down")
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    assert _run(home, "status").returncode == 3
    # The same keys the next time.
    assert _run(home, "id").stdout.strip() == answer["peer_id"]


@pytest.mark.attack(99)
def test_two_processes_do_not_share_a_directory(kept: Path) -> None:
    second = _run(kept, "up", *SETTINGS)
    assert second.returncode == 1
    assert "FOG-PROC-001 another fogp2p (pid " in second.stderr and "--home" in second.stderr


def test_only_the_owner_reaches_the_socket(kept: Path) -> None:
    path = kept / "run" / "api.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((kept / "data" / "identity").stat().st_mode) == 0o600


def test_garbage_on_the_api_socket_harms_nobody(kept: Path) -> None:
    for garbage in (
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST " + b"x" * 100_000,
        b"\r\n" * 99,
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(kept / "run" / "api.sock"))
            try:
                client.sendall(garbage)
                client.recv(1000)
            except (TimeoutError, ConnectionError):
                continue
    assert _run(kept, "status").returncode == 0


@pytest.mark.attack(102)
def test_the_environment_does_not_change_what_runs(tmp_path: Path) -> None:
    """PYTHON* variables and files in the current directory reach no peer in the background."""
    evil = tmp_path / "evil"
    evil.mkdir()
    mark = tmp_path / "owned"
    for name in ("sitecustomize", "trio", "click"):
        (evil / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    from fogp2p.process import command_line

    line = command_line(str(tmp_path / "home"), SETTINGS_VALUES, None)
    environ = os.environ | {"PYTHONPATH": str(evil), "PYTHONSTARTUP": str(evil / "trio.py")}
    process = subprocess.Popen(line, env=environ, cwd=evil, stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            if (tmp_path / "home" / "run" / "api.sock").exists() or process.poll() is not None:
                break
            subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
        assert _run(tmp_path / "home", "status").returncode == 0
        assert not mark.exists()
    finally:
        process.terminate()
        process.wait(20)
        if process.stderr is not None:
            process.stderr.close()


SETTINGS_VALUES = ("network.listen=/ip4/127.0.0.1/tcp/0", "discovery.mdns=false")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("statsu",), 2, "Did you mean status?"),
        (("ping",), 2, "Missing argument"),
        (("--timeout", "-1", "status"), 2, "Invalid value"),
        (("status",), 3, "FOG-API-002 no peer is running"),
        (("ping", "abc"), 3, "fogp2p up"),
        (("id",), 4, "FOG-CLI-002"),
        (("up", "--set", "network.lisen=x"), 9, "the nearest is network.listen"),
        (("up", "--set", "network.listen=/ip4/192.0.2.77/tcp/0"), 9, "cannot listen"),
        (("config", "check", "--set", "log.level=loud"), 9, "debug, info, warning"),
    ],
)
def test_wrong_input_is_answered_with_the_next_step(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    answer = _run(tmp_path, *words)
    assert (answer.returncode, answer.stdout) == (code, "")
    assert said in answer.stderr and "Traceback" not in answer.stderr


def test_errors_are_json_when_asked_for(tmp_path: Path) -> None:
    answer = _run(tmp_path, "--json", "status")
    error = json.loads(answer.stderr)
    assert error["schema"] == "error/1" and error["code"] == "FOG-API-002" and error["exit"] == 3


@pytest.mark.spec("IDN-004")
def test_a_keystore_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    assert _run(tmp_path, "up", "-d", *SETTINGS).returncode == 0
    assert _run(tmp_path, "down").returncode == 0
    (tmp_path / "data" / "identity").chmod(0o644)
    answer = _run(tmp_path, "up", *SETTINGS)
    assert answer.returncode == 9 and "chmod 600" in answer.stderr


def test_configuration_shows_where_each_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[network]\ntarget_peers = 3\n")
    answer = _run(tmp_path, "--json", "config", "show", "--set", "log.level=debug")
    settings = json.loads(answer.stdout)["settings"]
    assert settings["network.target_peers"]["origin"] == f"file {tmp_path / 'config.toml'}"
    assert settings["log.level"]["value"] == "debug"
    assert "FROM" in _run(tmp_path, "config", "show", "--origin").stdout
    assert str(tmp_path) in _run(tmp_path, "config", "where").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_goes_on_ends_cleanly_by_signal(
    kept: Path, number: signal.Signals, code: int
) -> None:
    line = [sys.executable, "-m", "fogp2p", "--home", str(kept), "--json", "status", "--watch"]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        # JSON Lines, one each second.
        for _ in range(2):
            assert json.loads(process.stdout.readline())["schema"] == "status/1"
        process.send_signal(number)
        assert process.wait(20) == code
        # At most the line break that follows a ^C on a terminal.
        assert process.stderr.read().strip() == ""


def test_a_reader_that_has_gone_is_no_reason_to_complain(kept: Path) -> None:
    line = [sys.executable, "-m", "fogp2p", "--home", str(kept), "status", "--watch"]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == ""


def test_colours_are_for_terminals_that_want_them(kept: Path) -> None:
    import pty

    def on_a_terminal(**variables: str) -> bytes:
        ours, theirs = pty.openpty()
        line = [sys.executable, "-m", "fogp2p", "--home", str(kept), "status"]
        subprocess.run(line, stdout=theirs, env=os.environ | variables, timeout=60, check=True)
        os.close(theirs)
        shown = os.read(ours, 65_536)
        os.close(ours)
        return shown

    assert b"\x1b[" in on_a_terminal(NO_COLOR="")
    assert b"\x1b[" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in _run(kept, "status").stdout


def test_the_log_is_followed_through_being_emptied(kept: Path) -> None:
    log = kept / "state" / "fogp2p.log"
    log.write_text("2026-11-24T10:39:13Z info    node  connected peer=3kPz6Q\n")
    line = [sys.executable, "-m", "fogp2p", "--home", str(kept), "--json", "logs", "-f", "-n", "1"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first == {
            "schema": "log/1",
            "at": "2026-11-24T10:39:13Z",
            "level": "info",
            "where": "node",
            "message": "connected peer=3kPz6Q",
        }
        log.write_text("short\n")
        assert json.loads(process.stdout.readline())["message"] == "short"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_the_doctor_tells_by_its_exit_code(tmp_path: Path) -> None:
    assert _run(tmp_path, "up", "-d", *SETTINGS).returncode == 0
    assert _run(tmp_path, "down").returncode == 0
    assert _run(tmp_path, "doctor", "keys").returncode == 0
    (tmp_path / "data" / "identity").chmod(0o644)
    sick = _run(tmp_path, "doctor", "keys")
    assert sick.returncode == 1
    assert f"chmod 600 {tmp_path / 'data' / 'identity'}" in sick.stdout
    assert "FOG-DOC-010" in sick.stdout and "doctor --fix" in sick.stdout
    mended = _run(tmp_path, "doctor", "keys", "--fix")
    assert mended.returncode == 0 and "mended" in mended.stdout
    (tmp_path / "state").chmod(0o755)
    assert _run(tmp_path, "doctor", "directories").returncode == 8


def test_a_drill_is_not_begun_without_a_yes(kept: Path) -> None:
    answer = _run(kept, "services", "crash", "no-such-service")
    assert answer.returncode == 4 and "fogp2p services" in answer.stderr
