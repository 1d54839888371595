"""Every error number has a page in the manual, an exit code, and real code that raises it here."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

import fogp2p
from fogp2p.cli import exits
from fogp2p.cli.manual import page
from fogp2p.client import Client
from fogp2p.config import load_config
from fogp2p.doctor import codes
from fogp2p.environment import deadline_of, real_environment, within
from fogp2p.errors import FogError
from fogp2p.host import Stream
from fogp2p.identity import Keystore, ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols.mix.replay import ReplayFilter
from fogp2p.testing import Fault, MemoryDisk
from fogp2p.transports.memory import MemoryNetwork

ROOT = Path(fogp2p.__file__).parent
PROTOCOL, OTHER = ProtocolId("/test/1.0.0"), ProtocolId("/other/1.0.0")
# Built for WebAssembly, or starting work when they are imported.
NOT_IMPORTED = ("fogp2p.sandbox.runner.app", "fogp2p.__main__", "fogp2p.sandbox.worker")


def _all_kinds() -> dict[str, type[FogError]]:
    """Every error class of the package with a number of its own, by number."""
    for module in pkgutil.walk_packages([str(ROOT)], "fogp2p."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    found: dict[str, type[FogError]] = {}
    for kind in _below(FogError):
        if "number" in vars(kind) and kind.__module__.startswith("fogp2p."):
            assert found.setdefault(kind.number, kind) is kind, f"{kind.number} is given twice"
    return found


def _below(kind: type[FogError]) -> Iterator[type[FogError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _below(inner)


KINDS = _all_kinds()


# --- one way to each error, through the code that raises it ---------------------------------------


def _not_running(home: Path) -> None:
    Client(home / "nobody.sock").get("status")


def _says(answer: bytes) -> Callable[[Path], None]:
    """Ask somebody on a socket who gives this answer."""

    def ask(home: Path) -> None:
        import threading

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(home / "s"))
            (home / "s").chmod(0o600)
            listener.listen()

            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

            server = threading.Thread(target=serve)
            server.start()
            try:
                Client(home / "s").get("status")
            finally:
                server.join()

    return ask


def _socket_of_others(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "s"))
        (home / "s").chmod(0o666)
        Client(home / "s").get("status")


def _unknown_peer(home: Path) -> None:
    from fogp2p.cli.peer import find_peer

    class Nobody(Client):
        def get(self, route: str) -> dict[str, object]:
            return {"peers": []}

    find_peer(Nobody(home / "s"), "3kPz")


def _no_identity(home: Path) -> None:
    _run_command("id", home)


def _no_page(home: Path) -> None:
    page("no-such-page")


def _wrong_wait(home: Path) -> None:
    _run_command("wait", home, condition="peers=many")


def _not_confirmed(home: Path) -> None:
    from fogp2p.cli.output import Output

    with open(os.devnull) as nothing, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", nothing)
        Output().confirm("Break it?")


def _run_command(name: str, home: Path, **arguments: object) -> None:
    import click

    from fogp2p.cli.output import Output

    command: click.Command = importlib.import_module(f"fogp2p.cli.commands.{name}").command
    with click.Context(command, obj=Output(home=str(home), timeout_s=0.05)):
        assert command.callback is not None
        command.callback(**arguments)


def _bad_config(home: Path) -> None:
    load_config(None, disk=MemoryDisk(), environ={}, flags=["network.lisen=x"])


def _full_disk(home: Path) -> None:
    disk = MemoryDisk()
    disk.fault = Fault.FULL
    disk.replace(home / "file", b"")


def _no_keystore(home: Path) -> None:
    Keystore(home / "identity", real_environment()).load()


def _locked(home: Path) -> None:
    from fogp2p.process import hold

    with hold(home / "lock"), hold(home / "lock"):
        pass


def _not_started(home: Path) -> None:
    from fogp2p.cli.background import start_in_background
    from fogp2p.cli.output import Output

    start_in_background(Output(home=str(home)), ("network.lisen=x",))


def _old_epoch(home: Path) -> None:
    source = real_environment().random
    ephemeral(source).rotated(10, source).rotated(1, source)


def _bad_peer_id(home: Path) -> None:
    PeerId.parse("not-a-peer-id")


def _no_sandbox(home: Path) -> None:
    from fogp2p.sandbox import SandboxConfig, open_sandbox

    async def attempt() -> None:
        config = SandboxConfig(home, workers=1)
        async with open_sandbox(config, real_environment(), command=["/bin/false"]):
            pass

    trio.run(attempt)


def _peer_failed(home: Path) -> None:
    from fogp2p.testnet import LocalPeer

    peer = LocalPeer("ada", home, ("network.lisen=x",), real_environment())
    trio.run(peer.start)


def _two_hosts(act: str) -> Callable[[Path], None]:
    """What can go wrong between two hosts in memory."""

    async def rude(stream: Stream) -> None:
        await stream.reset()

    async def attempt() -> None:
        network = MemoryNetwork(seed=3)
        first, second = (ephemeral(real_environment().random) for _ in range(2))
        async with network.open_host(first) as here, network.open_host(second) as there:
            there.set_handler(PROTOCOL, rude)
            if act == "unreachable":
                network.kill(there.peer_id)
            await here.connect(there.peer_id, there.addresses, deadline=within(5))
            wanted = OTHER if act == "refused" else PROTOCOL
            stream = await here.open_stream(there.peer_id, [wanted], deadline=within(5))
            if act == "closed":
                await stream.close_write()
                await stream.write_all(b"x")
            await stream.read_some()

    return lambda home: trio.run(attempt)


def _too_late(home: Path) -> None:
    async def attempt() -> None:
        with deadline_of(within(0.01), "waiting"):
            await trio.sleep_forever()

    trio.run(attempt)


def _dead_worker(home: Path) -> None:
    async def attempt() -> None:
        await real_environment().executor.in_process(os._exit, 3)

    trio.run(attempt)


def _too_many(home: Path) -> None:
    full = ReplayFilter(bytes(32), capacity=1)
    full.check_and_add(bytes(16))
    full.check_and_add(bytes(range(16)))


def _no_backup(home: Path) -> None:
    from fogp2p.backup import restore
    from fogp2p.paths import home_paths

    (home / "file").write_bytes(b"something else")
    restore(home_paths(home / "peer"), home / "file", real_environment(), passphrase=None)


def _no_blob(home: Path) -> None:
    from fogp2p.protocols.blob import BlobStore, Cid

    async def attempt() -> None:
        store = await BlobStore.open(home, real_environment(), 1)
        await store.content(Cid.of_manifest(b"nobody's"))

    trio.run(attempt)


def _conformance_at(port: int, act: str) -> Callable[[Path], None]:
    """A check that finds nobody, and one that needs an id which nobody can have."""

    async def attempt() -> None:
        from fogp2p.addresses import parse_address
        from fogp2p.conformance import Target
        from fogp2p.conformance.context import Context, Pace

        lowest = PeerId.from_ed25519(bytes(32))
        target = Target.of(parse_address(f"/ip4/127.0.0.1/tcp/{port}/p2p/{lowest}"))
        context = Context(target, 1, "VER-001", Pace(0), 0.1)
        if act == "smaller":
            context.identity("smaller")
        async with context.socket():
            pass

    return lambda home: trio.run(attempt)


def _no_code(home: Path) -> None:
    from fogp2p.protocols.invite import parse_code

    parse_code("7-coper-lake")


def _no_invite(home: Path) -> None:
    from fogp2p.protocols.invite import open_invites

    async def attempt() -> None:
        keys = ephemeral(real_environment().random)
        async with (
            MemoryNetwork(seed=3).open_host(keys) as host,
            open_invites(host, [], real_environment(), home / "invites") as invites,
        ):
            await invites.cancel("i-nobody")

    trio.run(attempt)


def _store_is_closed(home: Path) -> None:
    from fogp2p.store import Quota, open_store

    async def attempt() -> None:
        async with open_store(home / "store.db", real_environment()) as store:
            journal = store.journal("chat", Quota(1, 100))
        await journal.append("text", b"x")

    trio.run(attempt)


def _store_is_full(home: Path) -> None:
    from fogp2p.store import Quota, open_store

    async def attempt() -> None:
        async with open_store(home / "store.db", real_environment()) as store:
            journal = store.journal("chat", Quota(1, 100))
            for _ in range(2):
                await journal.append("text", b"x")

    trio.run(attempt)


def _part_is_down(home: Path) -> None:
    from fogp2p.supervisor import Service, fixed, open_services

    async def attempt() -> None:
        async with open_services([Service("part", fixed(7))], real_environment()) as supervisor:
            pass
        supervisor.value("part")

    trio.run(attempt)


RAISED: dict[str, Callable[[Path], None]] = {
    "FOG-API-002": _not_running,
    "FOG-API-003": _says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhm"),
    "FOG-API-019": _socket_of_others,
    "FOG-BAK-001": _no_backup,
    "FOG-BLOB-001": _no_blob,
    "FOG-CLI-001": _unknown_peer,
    "FOG-CLI-002": _no_identity,
    "FOG-CLI-003": _no_page,
    "FOG-CLI-004": _wrong_wait,
    "FOG-CLI-005": _not_confirmed,
    "FOG-CNF-001": _conformance_at(1, "connect"),
    "FOG-CNF-002": _conformance_at(1, "smaller"),
    "FOG-CONF-001": _bad_config,
    "FOG-DISK-001": _full_disk,
    "FOG-INV-001": _no_code,
    "FOG-INV-005": _no_invite,
    "FOG-JOB-001": _no_sandbox,
    "FOG-KEY-001": _no_keystore,
    "FOG-LIM-001": _too_many,
    "FOG-NET-001": _dead_worker,
    "FOG-NET-002": _two_hosts("unreachable"),
    "FOG-NET-003": _two_hosts("refused"),
    "FOG-NET-004": _two_hosts("closed"),
    "FOG-NET-005": _two_hosts("reset"),
    "FOG-NET-006": _too_late,
    "FOG-PROC-001": _locked,
    "FOG-PROC-002": _not_started,
    "FOG-PROTO-001": _old_epoch,
    "FOG-PROTO-002": _bad_peer_id,
    "FOG-STORE-001": _store_is_closed,
    "FOG-STORE-005": _store_is_full,
    "FOG-SVC-001": _part_is_down,
    "FOG-TEST-001": _peer_failed,
}
# The base class, which nobody raises itself.
ABSTRACT = {"FOG-GEN-001"}
# Errors that need a whole server or tree around them: the test that raises each.
API, GATE = "tests/unit/test_api.py::", "tests/attack/test_local_api.py::"
DOORS, STORE = "tests/stream/test_local_api.py::", "tests/unit/test_store.py::"
INVITES, LOGS = "tests/stream/test_invites.py::", "tests/stream/test_log_hosts.py::"
TREE, PAIRING = "tests/stream/test_supervisor.py::", "tests/attack/test_invite.py::"
WORDS = "test_wrong_words_are_seen_on_both_sides_and_the_third_burns_the_invite"
SIMULATE = "tests/sim/test_simulate.py::"
ELSEWHERE: dict[str, str] = {
    "FOG-API-001": API + "test_a_wrong_request_is_told_which_member",
    "FOG-API-004": API + "test_unknown_paths_methods_and_peers",
    "FOG-API-005": API + "test_unknown_paths_methods_and_peers",
    "FOG-API-006": GATE + "test_a_rebound_host_is_refused",
    "FOG-API-007": GATE + "test_a_page_cannot_make_the_browser_act",
    "FOG-API-008": API + "test_every_operation_asks_for_its_scope",
    "FOG-API-009": API + "test_every_operation_asks_for_its_scope",
    "FOG-API-010": GATE + "test_large_bodies_are_refused_unread",
    "FOG-API-011": GATE + "test_a_page_cannot_make_the_browser_act",
    "FOG-API-012": GATE + "test_no_http2_no_smuggling_no_endless_silence",
    "FOG-API-013": API + "test_past_the_bound_of_requests_comes_503_and_then_recovery",
    "FOG-API-014": GATE + "test_a_page_cannot_make_the_browser_act",
    "FOG-API-015": API + "test_tokens_end_are_bounded_and_can_be_revoked",
    "FOG-API-016": GATE + "test_a_login_code_is_good_for_a_minute_and_sessions_can_be_ended",
    "FOG-API-017": GATE + "test_guessing_tokens_costs_a_second_each",
    "FOG-API-018": DOORS + "test_a_crash_is_a_500_that_says_nothing_of_the_inside",
    "FOG-BAK-002": "tests/process/test_backup.py::test_a_killed_restore_is_old_or_new_or_says_so",
    "FOG-INV-002": PAIRING + "test_a_joiners_own_messages_sent_back_prove_nothing",
    "FOG-INV-003": INVITES + WORDS,
    "FOG-INV-004": INVITES + WORDS,
    "FOG-LOG-001": LOGS + "test_what_a_member_may_not_do",
    "FOG-LOG-002": LOGS + "test_a_damaged_store_is_not_opened",
    "FOG-SIM-001": SIMULATE + "test_a_seed_that_fails_exits_with_1_and_is_remembered",
    "FOG-STORE-002": STORE + "test_the_first_disk_error_latches_and_reopening_resumes",
    "FOG-STORE-003": STORE + "test_a_flipped_bit_on_the_simulated_disk_is_found",
    "FOG-STORE-004": STORE + "test_a_downgrade_is_refused_with_both_versions_and_touches_nothing",
    "FOG-STORE-006": STORE + "test_a_foreign_program_that_holds_the_file_costs_a_write_only",
    "FOG-SVC-002": TREE + "test_a_task_that_returns_has_failed",
    "FOG-SVC-003": TREE + "test_drills_and_restarts",
}


def test_every_number_is_raised_by_a_test() -> None:
    known = set(RAISED) | set(ELSEWHERE) | ABSTRACT
    assert set(KINDS) - known == set(), "add these numbers to RAISED or ELSEWHERE"
    assert known - set(KINDS) == set(), "these numbers are gone"


@pytest.mark.parametrize("number", sorted(RAISED))
def test_the_code_raises_it(number: str, tmp_path: Path) -> None:
    with pytest.raises(FogError) as caught:
        RAISED[number](tmp_path)
    assert caught.value.number == number
    assert str(caught.value)
    assert exits.exit_code(caught.value) in range(1, 11)


@pytest.mark.parametrize("number", sorted(ELSEWHERE))
def test_the_named_test_is_there(number: str) -> None:
    path, _, name = ELSEWHERE[number].partition("::")
    text = (ROOT.parent / path).read_text("utf-8")
    assert f"def {name}(" in text


# --- pages ----------------------------------------------------------------------------------------

SECTIONS = ("## What happened", "## Why", "## What to do")


@pytest.mark.parametrize("number", sorted({*KINDS, *codes()}))
def test_every_number_has_a_page_that_says_what_to_do(number: str) -> None:
    found = page(number.lower())
    assert found.name == f"errors/{number}"
    assert found.title.startswith(f"{number}: ") and len(found.title) > len(number) + 2
    places = [found.markdown.find(section) for section in SECTIONS]
    assert -1 not in places and places == sorted(places)
    assert 8 <= len(found.markdown.splitlines()) <= 30
    # What it tells to type exists.
    from fogp2p.cli.main import COMMANDS

    typed = set(re.findall(r"`fogp2p (?:--\w+ [A-Z]+ )?([a-z][a-z-]*)", found.markdown))
    assert typed <= set(COMMANDS), f"no such command: {typed - set(COMMANDS)}"


def test_every_page_belongs_to_a_number() -> None:
    pages = {path.stem for path in (ROOT / "manual" / "errors").glob("*.md")}
    assert pages - {*KINDS, *codes()} == set()


# --- exit codes -----------------------------------------------------------------------------------

FROZEN = {
    "FOG-GEN-001": 1,
    "FOG-API-002": 3,
    "FOG-API-019": 6,
    "FOG-BAK-001": 1,
    "FOG-BAK-002": 9,
    "FOG-BLOB-001": 4,
    "FOG-CLI-001": 4,
    "FOG-CLI-002": 4,
    "FOG-CLI-003": 4,
    "FOG-CLI-004": 2,
    "FOG-CLI-005": 7,
    "FOG-CNF-001": 1,
    "FOG-CNF-002": 1,
    "FOG-CONF-001": 9,
    "FOG-DISK-001": 9,
    "FOG-INV-001": 2,
    "FOG-INV-002": 5,
    "FOG-INV-003": 7,
    "FOG-INV-004": 7,
    "FOG-INV-005": 4,
    "FOG-JOB-001": 1,
    "FOG-KEY-001": 9,
    "FOG-LIM-001": 7,
    "FOG-LOG-001": 6,
    "FOG-LOG-002": 9,
    "FOG-NET-001": 5,
    "FOG-NET-002": 5,
    "FOG-NET-003": 5,
    "FOG-NET-004": 5,
    "FOG-NET-005": 5,
    "FOG-NET-006": 5,
    "FOG-PROC-001": 1,
    "FOG-PROC-002": 1,
    "FOG-PROTO-001": 2,
    "FOG-PROTO-002": 1,
    "FOG-SIM-001": 1,
    "FOG-STORE-001": 9,
    "FOG-STORE-002": 9,
    "FOG-STORE-003": 9,
    "FOG-STORE-004": 9,
    # Two that may pass: a quota that is used up, and another program in the way.
    "FOG-STORE-005": 7,
    "FOG-STORE-006": 1,
    "FOG-SVC-001": 7,
    "FOG-SVC-002": 1,
    "FOG-SVC-003": 1,
    "FOG-TEST-001": 1,
}
# What the peer answers travels as its HTTP status.
BY_STATUS = {
    400: 2,
    401: 6,
    403: 6,
    404: 4,
    405: 1,
    408: 1,
    409: 7,
    413: 2,
    415: 1,
    422: 2,
    429: 7,
    500: 1,
    502: 5,
    503: 7,
    504: 5,
}


@pytest.mark.parametrize("number", sorted(FROZEN))
def test_exit_codes_are_frozen(number: str, tmp_path: Path) -> None:
    kind = KINDS[number]
    bare = kind.__new__(kind, "x")
    assert exits.exit_code(bare) == FROZEN[number]


def test_every_error_of_a_command_has_a_frozen_code() -> None:
    ours = {number for number in KINDS if not number.startswith("FOG-API")}
    assert ours <= set(FROZEN), "freeze an exit code for these"


@pytest.mark.parametrize(("status", "code"), sorted(BY_STATUS.items()))
def test_what_the_peer_said_has_a_frozen_code(status: int, code: int) -> None:
    from fogp2p.client import PeerSaid

    assert exits.exit_code(PeerSaid("x", code="FOG-NET-001", status=status)) == code


def test_the_page_of_exit_codes_has_them_all() -> None:
    text = page("exit-codes").markdown
    assert all(f"| {code} |" in text for code in range(11)) and "130, 143" in text
