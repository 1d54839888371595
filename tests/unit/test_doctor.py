"""The doctor finds planted faults and names their repair, with the peer up and with it down."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fogp2p import __version__
from fogp2p.doctor import (
    Context,
    Diagnosis,
    Finding,
    Interface,
    PeerView,
    Severity,
    System,
    codes,
    diagnose,
    look,
    real_system,
    repair,
)
from fogp2p.doctor.findings import FAULTS
from fogp2p.environment import real_environment
from fogp2p.identity import Keystore
from fogp2p.paths import Paths, home_paths
from fogp2p.schema import answer, json_schema

NOW = 1_800_000_000.0
ETH = Interface("eth0", "192.0.2.7", False)
SERVICE: dict[str, Any] = {
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


def _healthy() -> System:
    """A machine without a fault, of which the real parts are files and their rights."""
    needed = {"libp2p": "0.8.1", "wasmtime": "50.0.1"}
    return replace(
        real_system(),
        python=(3, 12),
        version=lambda name: needed.get(name, _installed(name)),
        wall=lambda: NOW,
        asleep=lambda: 0.0,
        free=lambda path: (10**12, 10**6),
        file_limit=lambda: (4096, 4096),
        bind=lambda ip, port: "",
        holder=lambda port: "",
        interfaces=lambda: (ETH,),
        multicast=lambda interface: "",
        walls=lambda: {"seccomp": "", "landlock": ""},
        sys=Path("/nonexistent"),
    )


_installed = real_system().version


def _view(**changes: Any) -> PeerView:
    status = {
        "version": __version__,
        "started_at": NOW - 60,
        "uptime_s": 60.0,
        "addresses": ["/ip4/192.0.2.7/tcp/7460"],
        "why": "",
    }
    services = changes.pop("services", [SERVICE])
    return PeerView(status | changes, services)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The home of a peer that ran once."""
    found = home_paths(tmp_path)
    Keystore(found.keystore, real_environment()).create()
    for directory in (found.data, found.state, found.run):
        directory.mkdir(mode=0o700, exist_ok=True)
    found.config.write_text("[network]\ntarget_peers = 3\n")
    found.config.chmod(0o600)
    found.log.write_text("2026-11-24T10:39:13Z info    node  connected\n")
    for path in (found.config, found.keystore, found.log):
        os.utime(path, (NOW - 100, NOW - 100))
    return found


def _look(paths: Paths, system: System, peer: PeerView | None) -> Context:
    return look(paths, peer=peer, system=system, environ={})


def _faults(found: Diagnosis) -> dict[str, Finding]:
    return {each.code: each for each in found.findings if each.severity is not Severity.OK}


@pytest.mark.parametrize("peer", [None, _view()], ids=["down", "up"])
def test_a_healthy_machine_has_no_fault(paths: Paths, peer: PeerView | None) -> None:
    found = diagnose(_look(paths, _healthy(), peer))
    assert _faults(found) == {}
    assert found.verdict is Severity.OK
    assert found.peer == ("down" if peer is None else "running")
    # Every check said something.
    silent = {"services"} if peer is None else set()
    from fogp2p.doctor.diagnose import CHECKS

    assert {each.check for each in found.findings} == set(CHECKS) - silent


Plant = Callable[[Paths, System], System]


def _chmod(name: str, mode: int) -> Plant:
    def plant(paths: Paths, system: System) -> System:
        getattr(paths, name).chmod(mode)
        return system

    return plant


def _with(**changes: Any) -> Plant:
    return lambda paths, system: replace(system, **changes)


def _stat_of(name: str, **changes: int) -> Plant:
    """As if a file were so, for what this user cannot do to a real one."""

    def plant(paths: Paths, system: System) -> System:
        target, real = getattr(paths, name), system.stat

        def lstat(path: Path) -> os.stat_result | None:
            found = real(path)
            if found is None or path != target:
                return found
            fields = list(found)
            for field, value in changes.items():
                fields[getattr(stat, field)] = value
            return os.stat_result(fields)

        return replace(system, stat=lstat)

    return plant


def _future(paths: Paths, system: System) -> System:
    os.utime(paths.log, (NOW + 3600, NOW + 3600))
    return system


def _typo(paths: Paths, system: System) -> System:
    paths.config.write_text("[network]\ntarget_pers = 3\n")
    return system


def _damage(paths: Paths, system: System) -> System:
    paths.keystore.write_bytes(b"\x00" * 100)
    return system


def _rfkill(kind: str) -> Plant:
    def plant(paths: Paths, system: System) -> System:
        tree = paths.state / "sys"
        switch = tree / "class" / "bluetooth" / "hci0" / "rfkill3"
        switch.mkdir(parents=True)
        for name in ("soft", "hard"):
            (switch / name).write_text("1\n" if name == kind else "0\n")
        return replace(system, sys=tree)

    return plant


def _no_version(wanted: str, said: str | None) -> Plant:
    def plant(paths: Paths, system: System) -> System:
        real = system.version
        return replace(system, version=lambda name: said if name == wanted else real(name))

    return plant


FAULTS_THAT_ANY_PEER_HAS: list[tuple[str, Plant, str]] = [
    ("FOG-DOC-001", _with(python=(3, 10)), "--python 3.13"),
    ("FOG-DOC-001", _with(python=(3, 14)), "--python 3.13"),
    ("FOG-DOC-002", _no_version("libp2p", "0.8.2"), "pip install 'libp2p==0.8.1'"),
    ("FOG-DOC-002", _no_version("trio", "0.31.9"), "pip install 'trio>=0.32'"),
    ("FOG-DOC-003", _no_version("segno", None), "pip install 'segno>=1.6'"),
    ("FOG-DOC-004", _no_version("wasmtime", "49.0.0"), "wasmtime==50.0.1"),
    ("FOG-DOC-005", _with(walls=lambda: {"landlock": "Operation not supported"}), "sandbox walls"),
    ("FOG-DOC-010", _chmod("keystore", 0o644), "chmod 600 {keystore}"),
    ("FOG-DOC-010", _chmod("data", 0o755), "chmod 700 {data}"),
    ("FOG-DOC-011", _stat_of("keystore", ST_UID=4321), "chown -R"),
    ("FOG-DOC-012", _damage, "backup"),
    ("FOG-DOC-020", _typo, "fogp2p config edit"),
    ("FOG-DOC-021", _chmod("config", 0o666), "chmod 600 {config}"),
    ("FOG-DOC-032", _with(multicast=lambda interface: "Operation not permitted"), "UDP port 5353"),
    ("FOG-DOC-033", _with(interfaces=lambda: ()), "discovery.bootstrap"),
    ("FOG-DOC-040", _with(wall=lambda: 86_400.0), "timedatectl"),
    ("FOG-DOC-041", _future, "touch the file"),
    ("FOG-DOC-050", _with(free=lambda path: (30 << 20, 10**6)), "df -h {state}"),
    ("FOG-DOC-050", _with(free=lambda path: (10**12, 7)), "df -h {state}"),
    ("FOG-DOC-051", _with(free=lambda path: (300 << 20, 10**6)), "df -h {state}"),
    ("FOG-DOC-052", _with(write=lambda path: "Read-only file system"), "writable for you"),
    ("FOG-DOC-053", _chmod("state", 0o755), "chmod 700 {state}"),
    ("FOG-DOC-054", _stat_of("log", ST_SIZE=200 << 20), "truncate -s 0 {log}"),
    ("FOG-DOC-060", _with(file_limit=lambda: (256, 4096)), "ulimit -n 608"),
    ("FOG-DOC-060", _with(file_limit=lambda: (256, 256)), "network.max_inbound 1"),
    ("FOG-DOC-080", _rfkill("soft"), "rfkill unblock bluetooth"),
    ("FOG-DOC-080", _rfkill("hard"), "radio switch"),
]


@pytest.mark.parametrize("is_up", [False, True], ids=["down", "up"])
@pytest.mark.parametrize(("code", "plant", "repaired_by"), FAULTS_THAT_ANY_PEER_HAS)
def test_a_planted_fault_is_found_and_its_repair_named(
    paths: Paths, code: str, plant: Plant, repaired_by: str, is_up: bool
) -> None:
    system = plant(paths, _healthy())
    view = _view(started_at=system.wall() - 60) if is_up else None
    found = _faults(diagnose(_look(paths, system, view)))
    assert code in found
    wanted = {name: getattr(paths, name) for name in ("keystore", "data", "config", "state", "log")}
    assert repaired_by.format(**wanted) in found[code].hint
    assert found[code].severity is FAULTS[code] and found[code].affects
    # Nothing else is blamed, but what follows from a clock or a file that is no keystore.
    assert set(found) <= {code, "FOG-DOC-041" if code == "FOG-DOC-040" else code}


FAULTS_OF_A_PEER_THAT_IS_DOWN: list[tuple[str, Plant, str]] = [
    ("FOG-DOC-030", _with(bind=lambda ip, port: "taken", holder=lambda p: "nc (pid 7)"), "nc (pid"),
    ("FOG-DOC-031", _with(bind=lambda ip, port: "Permission denied"), "network.listen"),
    ("FOG-DOC-071", _with(locked=lambda path: "77"), "kill 77"),
]


@pytest.mark.parametrize(("code", "plant", "repaired_by"), FAULTS_OF_A_PEER_THAT_IS_DOWN)
def test_what_only_a_peer_that_is_down_can_have(
    paths: Paths, code: str, plant: Plant, repaired_by: str
) -> None:
    system = plant(paths, _healthy())
    found = _faults(diagnose(_look(paths, system, None)))
    assert set(found) == {code} and repaired_by in found[code].hint
    # A running peer holds its own port and its own lock.
    assert _faults(diagnose(_look(paths, system, _view()))) == {}


def _stored(state: str) -> PeerView:
    reason = {"subject": "store", "happened": f"{state}: ...", "hint": "fogp2p restore"}
    return _view(reasons=[reason], rooms={"store": state, "blobs": None, "groups": None})


FAILED = SERVICE | {"state": "failed", "why": "cannot bind"}
FAULTS_OF_A_PEER_THAT_IS_UP: list[tuple[str, PeerView, str]] = [
    ("FOG-DOC-042", _view(started_at=NOW - 3660), "fogp2p up -d"),
    ("FOG-DOC-042", _view(started_at=NOW + 3600), "fogp2p up -d"),
    ("FOG-DOC-072", _view(services=[FAILED | {"essential": True}]), "services restart mdns"),
    ("FOG-DOC-073", _view(services=[FAILED]), "services restart mdns"),
    ("FOG-DOC-073", _view(services=[FAILED | {"state": "backing-off"}]), "services restart mdns"),
    ("FOG-DOC-074", _view(why="no other peer has been seen yet"), "fogp2p status"),
    (
        "FOG-DOC-074",
        _view(reasons=[{"subject": "net", "happened": "no network", "hint": "plug it in"}]),
        "plug it in",
    ),
    ("FOG-DOC-075", _view(version="0.0.9"), "fogp2p up -d"),
    ("FOG-DOC-090", _stored("damaged"), "restore"),
    ("FOG-DOC-091", _stored("read-only"), "restore"),
    ("FOG-DOC-092", _stored("newer"), "restore"),
    (
        "FOG-DOC-093",
        _view(reasons=[{"subject": "blobs", "happened": "full: 1 of 1", "hint": "unpin some"}]),
        "unpin some",
    ),
]


@pytest.mark.parametrize(("code", "view", "repaired_by"), FAULTS_OF_A_PEER_THAT_IS_UP)
def test_what_only_a_running_peer_can_have(
    paths: Paths, code: str, view: PeerView, repaired_by: str
) -> None:
    found = _faults(diagnose(_look(paths, _healthy(), view)))
    assert set(found) == {code} and repaired_by in found[code].hint


def test_sleep_of_the_machine_is_no_jump_of_its_clock(paths: Paths) -> None:
    slept = replace(_healthy(), asleep=lambda: 3700.0)
    assert _faults(diagnose(_look(paths, slept, _view(started_at=NOW - 3660)))) == {}


def test_every_fault_the_doctor_knows_is_planted_here() -> None:
    planted = {code for code, _, _ in FAULTS_THAT_ANY_PEER_HAS + FAULTS_OF_A_PEER_THAT_IS_DOWN}
    planted |= {code for code, _, _ in FAULTS_OF_A_PEER_THAT_IS_UP}
    assert planted | {"FOG-DOC-070"} == set(codes())  # that one: the next test


def test_a_socket_left_behind_is_found_and_removed(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.socket))
    context = _look(paths, _healthy(), None)
    found = diagnose(context)
    assert set(_faults(found)) == {"FOG-DOC-070"}
    assert found.verdict is Severity.WARN
    mended = repair(context, found)
    assert [each.done for each in mended.repaired] == [True]
    assert not paths.socket.exists()
    assert _faults(mended) == {}


def test_a_socket_that_somebody_listens_on_is_never_removed(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(paths.socket))
        context = _look(paths, _healthy(), None)
        found = diagnose(context)
        live.listen()
        mended = repair(context, found)
        assert [each.done for each in mended.repaired] == [False]
        assert paths.socket.exists()


def test_rights_are_taken_away_and_only_from_own_files(paths: Paths) -> None:
    paths.keystore.chmod(0o644)
    paths.config.chmod(0o666)
    paths.state.chmod(0o777)
    context = _look(paths, _healthy(), None)
    mended = repair(context, diagnose(context))
    assert all(each.done for each in mended.repaired) and len(mended.repaired) == 3
    assert stat.S_IMODE(paths.keystore.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.config.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.state.stat().st_mode) == 0o700
    assert _faults(mended) == {}


def test_a_link_put_in_a_files_place_is_not_followed(paths: Paths, tmp_path: Path) -> None:
    paths.keystore.chmod(0o644)
    context = _look(paths, _healthy(), None)
    found = diagnose(context)
    other = tmp_path / "other"
    other.write_text("")
    other.chmod(0o644)
    paths.keystore.unlink()
    paths.keystore.symlink_to(other)
    mended = repair(context, found)
    assert [each.done for each in mended.repaired] == [False]
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


def test_nothing_fixable_means_nothing_is_done(paths: Paths) -> None:
    found = diagnose(_look(paths, replace(_healthy(), python=(3, 10)), None))
    assert repair(_look(paths, _healthy(), None), found) is found


@pytest.mark.parametrize("plant", [_typo, _chmod("config", 0o666)])
def test_the_answer_fits_its_schema(paths: Paths, plant: Plant) -> None:
    made = answer(diagnose(_look(paths, plant(paths, _healthy()), None)))
    import json

    schema = json_schema(Diagnosis, closed=True)
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(made)))


# --- what the real machine says ------------------------------------------------------------------


def test_a_port_that_is_really_taken_is_found_with_its_holder() -> None:
    system = real_system()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert system.bind("127.0.0.1", port) == "taken"
        assert f"pid {os.getpid()}" in system.holder(port)
    assert system.bind("127.0.0.1", port) == ""
    assert system.bind("192.0.2.99", 7460) not in ("", "taken")


def test_our_own_multicast_comes_back_on_loopback() -> None:
    system = real_system()
    loopback = next(each for each in system.interfaces() if each.is_loopback)
    assert system.multicast(loopback) == ""


def test_an_address_that_is_not_ours_does_no_multicast() -> None:
    assert real_system().multicast(Interface("eth9", "192.0.2.99", False)) != ""


def test_the_real_lock_is_seen_and_left_alone(tmp_path: Path) -> None:
    from fogp2p.process import hold

    system, lock = real_system(), tmp_path / "lock"
    assert system.locked(lock) == ""
    with hold(lock):
        assert system.locked(lock) == str(os.getpid())
    assert system.locked(lock) == ""


def test_the_real_walls_are_tried_in_a_process_of_their_own() -> None:
    walls = real_system().walls()
    assert "seccomp" in walls and "worker" not in walls


def _in_namespace(program: str) -> subprocess.CompletedProcess[str]:
    line = ["unshare", "-rn", sys.executable, "-c", program]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def namespaces() -> Iterator[None]:
    """Network namespaces, where the kernel gives them to us."""
    try:
        done = _in_namespace("pass")
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    if done.returncode != 0:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    yield


@pytest.mark.usefixtures("namespaces")
def test_without_any_network_multicast_is_said_to_be_impossible(paths: Paths) -> None:
    program = (
        "from pathlib import Path; from fogp2p.doctor import diagnose, look;"
        "from fogp2p.paths import home_paths;"
        f"c = look(home_paths(Path({str(paths.data.parent)!r})), peer=None, environ={{}});"
        "print([f.code for f in diagnose(c, only=['multicast']).findings])"
    )
    done = _in_namespace(program)
    assert done.stdout.strip() == "['FOG-DOC-033']", done.stderr


def test_a_directory_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    assert real_system().write(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert real_system().write(tmp_path / "missing") != ""


def test_an_unusable_keystore_is_a_finding_not_an_error(paths: Paths) -> None:
    paths.keystore.unlink()
    paths.keystore.mkdir(mode=0o700)
    found = _faults(diagnose(_look(paths, _healthy(), None), only=["keys"]))
    assert "FOG-DOC-012" in found


def test_a_home_that_is_too_long_is_a_finding(tmp_path: Path) -> None:
    long = home_paths(tmp_path / ("x" * 120))
    found = _faults(diagnose(_look(long, _healthy(), None)))
    assert set(found) == {"FOG-DOC-020"}


def test_an_unknown_disk_is_a_finding(paths: Paths) -> None:
    def refuse(path: Path) -> tuple[int, int]:
        raise PermissionError(13, "Permission denied")

    found = _faults(diagnose(_look(paths, replace(_healthy(), free=refuse), None)))
    assert set(found) == {"FOG-DOC-052"}
