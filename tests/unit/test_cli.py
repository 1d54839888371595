"""The command line without a peer: options, help, completion, manual, what is imported."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from fogp2p.cli.commands.config import command as config_command
from fogp2p.cli.commands.status import lines
from fogp2p.cli.config_file import replace_text, rollback, set_value, unset
from fogp2p.cli.exits import NotFound
from fogp2p.cli.main import COMMANDS, cli, hoisted
from fogp2p.cli.manual import page, topics
from fogp2p.cli.nearest import nearest
from fogp2p.cli.output import Output, duration, table
from fogp2p.cli.roff import man_page
from fogp2p.client import Client, NotRunning
from fogp2p.errors import ConfigError
from fogp2p.testing import Fault, MemoryDisk

FILE = Path("/home/ada/config.toml")
# What costs more than all of `fogp2p status` may.
HEAVY = (
    "trio",
    "starlette",
    "hypercorn",
    "cryptography",
    "nacl",
    "libp2p",
    "multiaddr",
    "cbor2",
    "zeroconf",
    "psutil",
    "tomlkit",
    "jsonschema",
    "platformdirs",
    "http.client",
    "email",
    "ssl",
    "asyncio",
    "fogp2p.config",
    "fogp2p.environment",
    "fogp2p.identity",
    "fogp2p.schema",
    "fogp2p.cli.answers",
)


def _imported_by(words: list[str], home: Path) -> set[str]:
    program = (
        "import sys; from fogp2p.cli.main import main\n"
        f"sys.argv = ['fogp2p', '--home', {str(home)!r}, *{words!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('\\nMODULES', *sys.modules)\n"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize("words", [["status"], ["peers"], ["services"], ["--help"], ["ping", "x"]])
def test_what_people_type_often_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    found = _imported_by(words, tmp_path)
    assert "click" in found
    allowed = {"multiaddr", "cbor2"} if words[0] == "ping" else set()
    assert found & set(HEAVY) - allowed == set()


def test_starting_a_peer_in_the_background_costs_one_peer(tmp_path: Path) -> None:
    """The command that waits for it is none, and neither runs libp2p's swarm or QUIC."""
    found = _imported_by(["up", "--help"], tmp_path)
    assert "fogp2p.cli.commands.up" in found
    assert found & {"fogp2p.node", "fogp2p.api", "fogp2p.cli.foreground", "libp2p"} == set()
    program = "import fogp2p.cli.foreground, sys; print(*sys.modules)"
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    found = set(done.stdout.split())
    assert "fogp2p.transports.libp2p.host" in found
    assert found & {"libp2p", "aioquic", "httpx", "requests", "dns"} == set()


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        (["status", "--json"], ["--json"], ["status"]),
        (["--home", "status", "status"], ["--home", "status"], ["status"]),
        (["wait", "--timeout=3", "--for", "x"], ["--timeout=3"], ["wait", "--for", "x"]),
        (["ping", "-c", "3", "--timeout", "5", "p"], ["--timeout", "5"], ["ping", "-c", "3", "p"]),
        (["docs", "--", "--json"], [], ["docs", "--", "--json"]),
        (["status", "--home"], ["--home"], ["status"]),
    ],
)
def test_global_options_may_stand_anywhere(
    words: list[str], options: list[str], rest: list[str]
) -> None:
    assert hoisted(words) == (options, rest)


def test_no_command_has_an_option_that_a_global_one_would_swallow() -> None:
    ours = {name for option in cli.params for name in option.opts}

    def walk(command: click.Command) -> None:
        for parameter in command.params:
            assert not ours & set(parameter.opts), command.name
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                walk(inner)

    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        walk(found)


def test_completion_of_commands_imports_none() -> None:
    items = cli.shell_complete(click.Context(cli), "st")
    assert [item.value for item in items] == ["status"]
    options = cli.shell_complete(click.Context(cli), "--js")
    assert "--json" in [item.value for item in options]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_works_in_the_shells_own_protocol(shell: str, tmp_path: Path) -> None:
    words = {"COMP_WORDS": "fogp2p stat", "COMP_CWORD": "1" if shell != "fish" else "stat"}
    line = [sys.executable, "-c", "from fogp2p.cli.main import main; main()"]
    environ = {"_FOGP2P_COMPLETE": f"{shell}_complete", "PATH": "/usr/bin:/bin", **words}
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environ)
    assert "status" in done.stdout and "peers" not in done.stdout, done.stderr


def test_every_man_page_is_roff_that_begins_no_request_by_accident() -> None:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        text = man_page(command, f"fogp2p {name}", {})
        assert text.startswith(f'.TH "FOGP2P-{name.upper()}" "1"')
        known = {".TH", ".SH", ".B", ".PP", ".TP"}
        assert {line.split()[0] for line in text.splitlines() if line.startswith(".")} <= known
    group = man_page(config_command, "fogp2p config", {"show": "print. Every setting"})
    assert ".SH COMMANDS\n.TP\n\\fBshow\\fP" in group


def test_pages_are_found_by_any_part_of_their_name() -> None:
    assert page("exit-codes").name == page("reference/exit-codes").name == "reference/exit-codes"
    assert page("fog-net-002").title.startswith("FOG-NET-002: ")
    with pytest.raises(NotFound, match="the nearest is exit-codes"):
        page("exit-cods")
    with pytest.raises(NotFound, match="the nearest is FOG-NET-00"):
        page("FOG-NET-00")
    names = [each.name for each in topics()]
    assert names == sorted(names) and "errors/FOG-NET-002" in names and "reference/cli" in names


def test_a_page_cannot_lead_out_of_the_manual() -> None:
    for name in ("../README", "/etc/passwd", "..", ""):
        with pytest.raises(NotFound):
            page(name)


def test_the_nearest_name() -> None:
    assert nearest("mdsn", ["mdns", "dht"]) == "; the nearest is mdns"
    assert nearest("xyz", ["mdns", "dht"]) == ""


# --- status ---------------------------------------------------------------------------------------

STATUS = {
    "peer_id": "12D3KooW",
    "uptime_s": 11_520.0,
    "peers_connected": 0,
    "peers_agreed": 0,
    "peers_wanted": 8,
    "discovery": [{"source": "mdns", "seen": 0, "problem": "no network"}],
    "addresses": [],
    "echo_messages": 0,
    "echo_bytes": 0,
    "key_type": "ed25519",
    "key_encrypted": True,
    "why": "no other peer has been seen yet",
}


def test_status_says_why_and_what_to_type_below_the_line_it_concerns() -> None:
    reasons = [
        {"subject": "peers", "happened": "nobody was seen", "hint": "fogp2p doctor ports"},
        {"subject": "disk", "happened": "is \x1b[31mfull", "hint": ""},
    ]
    shown = lines(STATUS | {"health": "degraded", "reasons": reasons}, Output())
    assert shown[0] == "12D3KooW  up 3 h 12 m  ! degraded"
    where = next(i for i, line in enumerate(shown) if line.startswith("peers "))
    assert shown[where + 1].strip() == "why: nobody was seen"
    assert shown[where + 2].strip() == "try: fogp2p doctor ports"
    assert shown[-1].strip() == "why: is \ufffd[31mfull"  # of no line; shown, never obeyed
    assert "listen   nowhere" in shown


def test_status_of_a_peer_that_is_well() -> None:
    shown = lines(STATUS | {"health": "ok", "reasons": [], "why": ""}, Output())
    assert shown[0].endswith("all well") and not any("why:" in line for line in shown)


def test_status_explains_with_what_an_older_peer_tells() -> None:
    assert "         why: no other peer has been seen yet" in lines(STATUS, Output())


def test_durations_and_tables() -> None:
    assert [duration(s) for s in (0.42, 61, 11_520, 200_000)] == [
        "0.4 s",
        "1 m 1 s",
        "3 h 12 m",
        "2 d 7 h",
    ]
    assert table(["A", "B"], [["1", "x\x07"]]) == ["A  B", "1  x\ufffd"]


# --- the configuration file -----------------------------------------------------------------------


def _disk(text: str) -> MemoryDisk:
    disk = MemoryDisk()
    disk.replace(FILE, text.encode("utf-8"))
    return disk


def _text(disk: MemoryDisk) -> str:
    return (disk.read(FILE, max_bytes=1 << 20) or b"").decode("utf-8")


def test_a_setting_is_changed_and_comments_stay() -> None:
    disk = _disk("# mine\n[network]\ntarget_peers = 3 # few\n")
    edited = set_value(FILE, disk, "network.target_peers", "5")
    assert _text(disk) == "# mine\n[network]\ntarget_peers = 5 # few\n"
    assert edited.loaded.config.network.target_peers == 5
    set_value(FILE, disk, "discovery.mdns_interfaces", "eth0,wlan0")
    set_value(FILE, disk, "log.level", "debug")
    assert 'mdns_interfaces = ["eth0", "wlan0"]' in _text(disk)
    unset(FILE, disk, "network.target_peers")
    assert "target_peers" not in _text(disk) and "# mine" in _text(disk)


def test_the_first_setting_makes_the_file() -> None:
    disk = MemoryDisk()
    assert set_value(FILE, disk, "log.level", "debug").previous is None
    assert _text(disk) == '[log]\nlevel = "debug"\n'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("network.target_pers", "5", "the nearest is network.target_peers"),
        ("network.target_peers", "-1", "outside 0-160"),
        ("network.target_peers", "many", "must be a whole number"),
        ("log.level", "loud", "not one of debug"),
        ("log", "x", "unknown key"),
    ],
)
def test_a_wrong_setting_changes_nothing(name: str, text: str, said: str) -> None:
    disk = _disk("[network]\ntarget_peers = 3\n")
    with pytest.raises(ConfigError, match=said):
        set_value(FILE, disk, name, text)
    assert _text(disk) == "[network]\ntarget_peers = 3\n"


def test_a_file_with_mistakes_is_not_written_over() -> None:
    for text in ("[network]\ntarget_pers = 3\n", "[network"):
        disk = _disk(text)
        with pytest.raises(ConfigError):
            set_value(FILE, disk, "log.level", "debug")
        assert _text(disk) == text
    with pytest.raises(ConfigError, match=r"the nearest is log\.level"):
        unset(FILE, _disk(""), "log.levle")


def test_rollback_goes_back_and_forth() -> None:
    disk = _disk("[network]\ntarget_peers = 3\n")
    set_value(FILE, disk, "network.target_peers", "5")
    rollback(FILE, disk)
    assert "target_peers = 3" in _text(disk)
    rollback(FILE, disk)
    assert "target_peers = 5" in _text(disk)
    with pytest.raises(ConfigError, match="to go back to"):
        rollback(FILE, MemoryDisk())


def test_a_whole_text_is_checked_before_it_is_taken() -> None:
    disk = _disk("")
    with pytest.raises(ConfigError, match="not TOML"):
        replace_text(FILE, disk, b"[network")
    with pytest.raises(ConfigError, match="not TOML"):
        replace_text(FILE, disk, b"\xff\xfe")
    assert _text(disk) == ""
    assert replace_text(FILE, disk, b"[log]\nlevel = 'info'\n").previous is not None
    assert replace_text(FILE, disk, b"[log]\nlevel = 'info'\n").previous is None  # nothing changed


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.CRASH_BEFORE])
def test_a_fault_of_the_disk_leaves_the_old_file(fault: Fault) -> None:
    disk = _disk("[network]\ntarget_peers = 3\n")
    disk.fault = fault
    with pytest.raises(Exception, match="cannot write"):
        set_value(FILE, disk, "network.target_peers", "5")
    assert _text(disk) == "[network]\ntarget_peers = 3\n"


# --- asking over the socket -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "too early"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", "how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", "more than"),
        (b"SSH-2.0-OpenSSH\r\nContent-Length: 0\r\n\r\n", "not HTTP"),
        (b"x" * 20_000, "no end"),
        (b"", "too early"),
    ],
)
def test_an_answer_is_whole_or_none(tmp_path: Path, answer: bytes, said: str) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                for start in range(0, len(answer), 7):  # in small parts
                    try:
                        connection.sendall(answer[start : start + 7])
                    except BrokenPipeError:
                        return

        server = threading.Thread(target=serve)
        server.start()
        client = Client(path, timeout_s=5)
        if said:
            with pytest.raises(NotRunning, match=said):
                client.get("status")
        else:
            assert client.get("status") == {}
        server.join()


def test_a_peer_that_says_nothing_is_left_after_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        with pytest.raises(NotRunning, match=r"within 0\.1 s"):
            Client(path, timeout_s=0.1).get("status")
