"""Every command's `--json` against its schema; every error on standard error against error/1."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import click
import jsonschema
import pytest

from fogp2p.cli.answers import known_schemas
from fogp2p.cli.main import COMMANDS, main
from fogp2p.schema import json_schema

pytestmark = pytest.mark.process
SETTINGS = (
    "--set=network.listen=/ip4/127.0.0.1/tcp/0",
    "--set=discovery.mdns=false",
    "--set=api.tcp=127.0.0.1:0",
)
SCHEMAS = known_schemas()


def _environ() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}


@dataclass(frozen=True)
class Said:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


def _run(home: Path, *words: str, **variables: str) -> Said:
    """Run a command in this process, which spares a hundred starts of Python; `up` in its own."""
    if "up" in words:
        return _process(home, *words)
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("FOGP2P_"):
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["fogp2p", "--home", str(home), *words])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
    signal.signal(signal.SIGTERM, before)
    return Said(int(end.value.code or 0), out.getvalue(), err.getvalue())


def _process(home: Path, *words: str) -> Said:
    """Run a command in a process of its own: it would change this one for good."""
    line = [sys.executable, "-m", "fogp2p", "--home", str(home), *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=_environ())
    return Said(done.returncode, done.stdout, done.stderr)


def _check(text: str, schema: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(text)
    assert made["schema"] == schema
    jsonschema.Draft202012Validator(json_schema(SCHEMAS[schema], closed=True)).validate(made)
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a running peer."""
    path = tmp_path_factory.mktemp("peer")
    started = _run(path, "--json", "up", "-d", *SETTINGS)
    assert started.returncode == 0, started.stderr
    _check(started.stdout, "up/1")
    yield path
    down = _run(path, "down", "--json")
    _check(down.stdout, "down/1")


@pytest.fixture(scope="module")
def friend(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The id of another peer that is connected to it."""
    path = tmp_path_factory.mktemp("friend")
    address = json.loads(_run(home, "--json", "id").stdout)["addresses"][0]
    settings = (*SETTINGS, f"--set=discovery.bootstrap={address}")
    assert _run(path, "up", "-d", *settings).returncode == 0
    assert _run(path, "wait", "--for", "peers=1", "--timeout", "30").returncode == 0
    assert _run(path, "invite").returncode == 0  # so that there is one for others to find
    yield json.loads(_run(path, "--json", "id").stdout)["peer_id"]
    _run(path, "down")


# Command line -> schema. `FRIEND` is a connected peer's id. Exit codes are 0 but where they say.
ANSWERS: list[tuple[str, str]] = [
    ("status", "status/1"),
    ("wait --for online", "wait/1"),
    ("wait --for ready", "wait/1"),
    ("services", "services/1"),
    ("peers", "peers/1"),
    ("peers --limit 1", "peers/1"),
    ("ping FRIEND -c 2", "ping/1"),
    ("id", "id/1"),
    ("invite --name Bob", "invite/1"),
    ("invite --link", "invite/1"),
    ("invite --list", "invites/1"),
    ("invite --cancel INVITE", "invites/1"),
    ("join", "offers/1"),
    ("join --list", "pending/1"),
    ("contacts", "contacts/1"),
    ("backup FILE", "backup/1"),
    ("conformance --list", "conformance-list/1"),
    ("conformance OWN --only PNG", "conformance/1"),
    ("doctor", "doctor/1"),
    ("doctor keys disk", "doctor/1"),
    ("config show", "config-show/1"),
    ("config check", "config-check/1"),
    ("config where", "config-where/1"),
    ("config set network.target_peers 4", "config-edited/1"),
    ("config set discovery.mdns_interfaces eth0 wlan0", "config-edited/1"),
    ("config rollback", "config-edited/1"),
    ("config unset network.target_peers", "config-edited/1"),
    ("config edit", "config-edited/1"),
    ("config token create --scope read --ttl 1h --name test", "token/1"),
    ("config token list", "tokens/1"),
    ("config token revoke TOKEN", "token-revoked/1"),
    ("dashboard", "dashboard/1"),
    ("docs", "topics/1"),
    ("docs exit-codes", "docs/1"),
    ("docs FOG-NET-002", "docs/1"),
    ("docs completion bash", "completion/1"),
    ("docs completion zsh", "completion/1"),
    ("docs completion fish", "completion/1"),
    ("docs man", "man/1"),
    ("docs man --dir MAN", "man/1"),
    ("docs schemas", "schemas/1"),
    ("docs schemas status/1", "schemas/1"),
    ("sandbox walls", "sandbox-walls/1"),
    ("simulate", "scenarios/1"),
    ("simulate partition --peers 4 --minutes 0.5", "simulation/1"),
    ("simulate churn --peers 4 --minutes 0.5 --seeds 2", "simulations/1"),
    ("version", "version/1"),
    ("share LETTER", "share/1"),
    ("share LETTER --seal", "share/1"),
    ("send LETTER FRIEND", "transfer/1"),
    ("get CID --force -o OUT", "get/1"),
    ("blobs", "blobs/1"),
    ("blobs list --limit 1", "blobs/1"),
    ("blobs pin CID", "blob/1"),
    ("blobs unpin CID", "blob/1"),
    ("group create tea", "group/1"),
    ("group list", "groups/1"),
    ("group show GROUP", "group/1"),
    ("group open GROUP", "group/1"),
    ("group admit GROUP FRIEND --admin", "written/1"),
    ("group say GROUP good morning", "written/1"),
]
# Streams: JSON Lines, each with this schema.
STREAMS: list[tuple[str, str]] = [
    ("events", "event/1"),
    ("logs", "log/1"),
    ("group read GROUP", "group-entry/1"),
]
# Seen elsewhere: commands that start peers or jobs, or that need a service tree.
OTHERS = {
    "up": "the fixture `home`",
    "down": "the fixture `home`",
    "demo": "test_the_demo_answers",
    "restore": "test_a_backup_is_restored",
    "testnet": "test_a_test_network_answers_and_ends_at_ctrl_c",
    "sandbox run": "test_a_job_answers",
    "services restart": "test_a_service_is_asked_to_restart",
    "services crash": "test_a_service_is_asked_to_restart",
    "docs show": "the hidden way of `docs TOPIC`",
    "blobs remove": "test_what_can_be_done_once",
    "group remove": "test_what_can_be_done_once",
    "group leave": "test_what_can_be_done_once",
}


def test_every_command_is_in_the_table() -> None:
    named = {line for line, _ in ANSWERS + STREAMS} | set(OTHERS)
    for path in _paths():
        assert any(line == path or line.startswith(f"{path} ") for line in named), path


def _paths() -> Iterator[str]:
    import importlib

    for name in COMMANDS:
        yield from _below(importlib.import_module(f"fogp2p.cli.commands.{name}").command, name)


def _below(command: click.Command, path: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield path
        return
    if command.invoke_without_command:
        yield path
    for name, inner in command.commands.items():
        yield from _below(inner, f"{path} {name}")


@pytest.mark.parametrize(("line", "schema"), ANSWERS)
def test_an_answer_fits_its_schema(
    home: Path, friend: str, tmp_path: Path, line: str, schema: str
) -> None:
    line = line.replace("FRIEND", friend).replace("MAN", str(tmp_path / "man1"))
    line = _kept(home, line.replace("FILE", str(tmp_path / "backup")), tmp_path)
    if "OWN" in line:
        own = json.loads(_run(home, "--json", "id").stdout)
        line = line.replace("OWN", own["addresses"][0])
    if "INVITE" in line:
        line = line.replace("INVITE", json.loads(_run(home, "--json", "invite").stdout)["id"])
    if "TOKEN" in line:
        made = json.loads(_run(home, *["--json", "config", "token", "create"]).stdout)
        line = line.replace("TOKEN", made["id"])
    answer = _run(home, *line.split(), "--json", EDITOR="true")
    found = _check(answer.stdout, schema)
    # What the doctor finds is the machine's business; what it says of it is frozen.
    code = {"ok": 0, "warn": 8, "fail": 1}[found["verdict"]] if line.startswith("doctor") else 0
    assert answer.returncode == code, answer.stderr
    if line == "join":
        assert [each["peer_id"] for each in found["offers"]] == [friend]
    if line.startswith("peers"):
        assert friend in [each["peer_id"] for each in found["peers"]]
    # The same without --json: something for people, and no JSON.
    (tmp_path / "backup").unlink(missing_ok=True)
    shown = _run(home, *line.split(), EDITOR="true")
    if "revoke" not in line and "--cancel" not in line:
        assert shown.returncode == answer.returncode
        assert shown.stdout.strip() and not shown.stdout.startswith('{"schema"')


def _kept(home: Path, line: str, tmp_path: Path) -> str:
    """Put in a file, a blob or a group of this peer where a line names one."""
    path = tmp_path / "letter.txt"
    path.write_text("a file of the test")
    if "CID" in line:
        made = json.loads(_run(home, "--json", "share", str(path)).stdout)
        line = line.replace("CID", made["cid"]).replace("OUT", str(tmp_path / "out.txt"))
    if "GROUP" in line:
        made = json.loads(_run(home, "--json", "group", "create", "tea").stdout)
        line = line.replace("GROUP", made["id"])
    return line.replace("LETTER", str(path))


def test_what_can_be_done_once(home: Path, friend: str, tmp_path: Path) -> None:
    for line, schema in (
        ("blobs remove CID --yes", "blob-removed/1"),
        ("group leave GROUP --yes", "written/1"),
        (f"group remove GROUP {friend} --yes", "written/1"),
    ):
        words = _kept(home, line, tmp_path).split()
        if words[:2] == ["group", "remove"]:
            assert _run(home, "group", "admit", words[2], friend).returncode == 0
        answer = _run(home, *words, "--json")
        assert answer.returncode == 0, answer.stderr
        _check(answer.stdout, schema)
        assert _run(home, *words, "--json").returncode in (4, 6)


@pytest.mark.parametrize(("line", "schema"), STREAMS)
def test_a_stream_is_json_lines(
    home: Path, friend: str, tmp_path: Path, line: str, schema: str
) -> None:
    line = _kept(home, line, tmp_path)
    answer = _run(home, *line.split(), "--json")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines
    for each in lines:
        _check(each, schema)
    if line == "events":
        numbers = [json.loads(each)["id"] for each in lines]
        assert numbers == sorted(set(numbers))
        after = _run(home, "events", "--json", "--since", str(numbers[0])).stdout.splitlines()
        assert [json.loads(each)["id"] for each in after][: len(numbers) - 1] == numbers[1:]


def test_events_are_followed_across_a_restart(tmp_path: Path) -> None:
    def up() -> str:
        started = _run(tmp_path, "--json", "up", "-d", *SETTINGS)
        assert started.returncode == 0, started.stderr
        return str(json.loads(started.stdout)["peer_id"])

    up()
    line = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path), "--json", "events", "-f"]
    with subprocess.Popen(
        [*line, "--since", "1000"], stdout=subprocess.PIPE, text=True, env=_environ()
    ) as follower:
        assert follower.stdout is not None
        first = json.loads(follower.stdout.readline())
        assert first["type"] == "gap"  # a number from before
        assert _run(tmp_path, "down").returncode == 0
        up()
        address = json.loads(_run(tmp_path, "--json", "id").stdout)["addresses"][0]
        other = tmp_path / "other"
        settings = (*SETTINGS, f"--set=discovery.bootstrap={address}")
        assert _run(other, "up", "-d", *settings).returncode == 0
        types: list[str] = []
        while "peer.connected" not in types:
            event = _check(follower.stdout.readline(), "event/1")
            types.append(event["type"])
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 130
    for each in (tmp_path, other):
        assert _run(each, "down").returncode == 0


def test_a_backup_is_restored(home: Path, tmp_path: Path) -> None:
    file, other = str(tmp_path / "backup"), tmp_path / "other"
    made = _check(_run(home, "backup", file, "--json").stdout, "backup/1")
    back = _check(_run(other, "restore", file, "--json").stdout, "restore/1")
    assert back.pop("schema") and made.pop("schema")
    assert back.pop("kept") == [] and back == made
    again = _check(_run(other, "restore", file, "--force", "--json").stdout, "restore/1")
    assert again["kept"]


def test_a_job_answers(tmp_path: Path) -> None:
    (tmp_path / "job.wasm").write_bytes(b"\x00asm\x01\x00\x00\x00")
    answer = _run(tmp_path, "--json", "sandbox", "run", str(tmp_path / "job.wasm"))
    _check(answer.stdout, "sandbox-run/1")


def test_a_test_network_answers_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "fogp2p", "--json", "--quiet", "testnet", "--peers", "2"]
    with subprocess.Popen(
        [*line, "--dir", str(tmp_path)], stdout=subprocess.PIPE, text=True, env=_environ()
    ) as process:
        assert process.stdout is not None
        found = _check(process.stdout.readline(), "testnet/1")
        assert len(found["peers"]) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_the_demo_answers() -> None:
    from fogp2p.cli.commands.demo import Demo
    from fogp2p.schema import answer
    from fogp2p.testnet import Check

    # test_demo.py runs it; here its answer.
    made = answer(Demo(3, "mdns", "", (Check("meeting", "they met", "3 of 3", True),), True, 1.0))
    _check(json.dumps(made), "demo/1")


# --- errors ---------------------------------------------------------------------------------------

NOBODY = "12D3KooWDJTYsdzGcNFWot1MzV3mUeXrpGmBQh9JxLNKEouo4jw7"
ERRORS: list[tuple[str, int, str]] = [
    ("status", 3, "FOG-API-002"),
    ("peers", 3, "FOG-API-002"),
    ("services", 3, "FOG-API-002"),
    ("events", 3, "FOG-API-002"),
    ("events -f", 3, "FOG-API-002"),
    ("dashboard", 3, "FOG-API-002"),
    ("config token list", 3, "FOG-API-002"),
    ("down", 3, "FOG-API-002"),
    ("ping abc", 3, "FOG-API-002"),
    ("invite", 3, "FOG-API-002"),
    ("join 7-copper-lake", 3, "FOG-API-002"),
    ("contacts", 3, "FOG-API-002"),
    ("backup x", 1, "FOG-BAK-001"),
    (f"restore {__file__}", 1, "FOG-BAK-001"),
    ("conformance", 2, "FOG-PROTO-001"),
    (f"conformance /ip4/127.0.0.1/tcp/1/p2p/{NOBODY}", 5, "FOG-NET-002"),
    ("wait --for online --timeout 0.2", 5, "FOG-NET-006"),
    ("wait --for tea", 2, "FOG-CLI-004"),
    ("id", 4, "FOG-CLI-002"),
    ("logs", 4, "FOG-CLI-003"),
    ("docs no-such", 4, "FOG-CLI-003"),
    ("docs schemas no/1", 4, "FOG-CLI-003"),
    ("config set network.lisen x", 9, "FOG-CONF-001"),
    ("config unset network.lisen", 9, "FOG-CONF-001"),
    ("config rollback", 9, "FOG-CONF-001"),
    ("config edit", 7, "FOG-CLI-005"),
    ("config check --set log.level=loud", 9, "FOG-CONF-001"),
    ("config token create --ttl soon", 2, "FOG-CLI-004"),
    ("statsu", 2, "FOG-CLI-004"),
    ("ping", 2, "FOG-CLI-004"),
    ("peers --limit 0", 2, "FOG-CLI-004"),
    ("doctor nose", 2, "FOG-CLI-004"),
    ("sandbox run nothing.py:main", 2, "FOG-PROTO-001"),
    ("--api ftp://x status", 9, "FOG-CONF-001"),
    ("blobs", 3, "FOG-API-002"),
    ("group list", 3, "FOG-API-002"),
    ("get abc", 2, "FOG-CLI-004"),
    ("up -d --set network.listen=/ip4/192.0.2.77/tcp/0", 1, "FOG-PROC-002"),
]


@pytest.mark.parametrize(("line", "code", "number"), ERRORS)
def test_an_error_fits_its_schema(tmp_path: Path, line: str, code: int, number: str) -> None:
    answer = _run(tmp_path, *line.split(), "--json", EDITOR="", VISUAL="")
    assert (answer.returncode, answer.stdout) == (code, "")
    error = _check(answer.stderr.splitlines()[-1], "error/1")
    assert (error["code"], error["exit"]) == (number, code)
    assert error["docs"] == f"fogp2p docs {number}" and "Traceback" not in answer.stderr


def test_an_error_of_the_peer_keeps_its_number(home: Path) -> None:
    answer = _run(home, "config", "token", "revoke", "nobody", "--json")
    error = _check(answer.stderr, "error/1")
    assert (error["code"], answer.returncode) == ("FOG-API-004", 4)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A peer with two services, as a socket that answers; and what it was asked."""
    service = {
        "name": "mdns",
        "group": "discovery",
        "state": "ready",
        "essential": False,
        "needs": [],
        "wants": [],
        "since_s": 5.0,
        "restarts": 0,
        "last_failure": "",
        "retry_in_s": None,
        "why": "",
    }
    failed = service | {
        "name": "dht",
        "state": "backing-off",
        "needs": ["mdns"],
        "last_failure": "no room",
        "retry_in_s": 4.0,
    }
    asked: list[str] = []

    class Peer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"schema": "services/1", "services": [service, failed]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            name, action = self.path.split("/")[-2:]
            self._say({"schema": "service-asked/1", "name": name, "action": action})

        def _say(self, fields: dict[str, Any]) -> None:
            data = json.dumps(fields).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    path = tmp_path / "run" / "api.sock"
    path.parent.mkdir(mode=0o700)
    with UnixStreamServer(str(path), Peer) as server:
        path.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, asked
        server.shutdown()
        thread.join()


def test_services_are_listed_with_their_reasons(stand_in: tuple[Path, list[str]]) -> None:
    home, _ = stand_in
    shown = _run(home, "services").stdout
    assert "mdns" in shown and "no room; again in 4.0 s" in shown
    one = json.loads(_run(home, "services", "--limit", "1", "--json").stdout)
    assert [each["name"] for each in one["services"]] == ["mdns"]
    ready = _run(home, "wait", "--for", "service=mdns", "--json")
    _check(ready.stdout, "wait/1")
    late = _run(home, "wait", "--for", "service=dht", "--timeout", "0.2")
    assert late.returncode == 5 and "dht is backing-off" in late.stderr


def test_a_service_is_asked_to_restart(stand_in: tuple[Path, list[str]]) -> None:
    home, asked = stand_in
    _check(_run(home, "services", "restart", "mdns", "--json").stdout, "service-asked/1")
    _check(_run(home, "services", "crash", "dht", "--yes", "--json").stdout, "service-asked/1")
    assert asked == ["/api/v1/services/mdns/restart", "/api/v1/services/dht/crash"]
    unknown = _run(home, "services", "restart", "mdsn")
    assert unknown.returncode == 4 and "the nearest is mdns" in unknown.stderr


def test_a_drill_needs_a_yes(
    stand_in: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, asked = stand_in
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refused = _run(home, "services", "crash", "dht")
    assert refused.returncode == 7 and "--yes" in refused.stderr and asked == []
