"""Every error number has a page in the manual, is raised by real code here, and has an exit code."""

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
from fogp2p.addresses import parse_address
from fogp2p.cli import exits
from fogp2p.cli.manual import page
from fogp2p.client import Client
from fogp2p.config import load_config
from fogp2p.doctor import codes
from fogp2p.environment import real_environment
from fogp2p.errors import FogError
from fogp2p.identity import Keystore, ephemeral
from fogp2p.ids import PeerId
from fogp2p.testing import Fault, MemoryDisk

ROOT = Path(fogp2p.__file__).parent
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


def _stale_identity(home: Path) -> None:
    identity = ephemeral(real_environment().random)
    identity.with_epoch(10, real_environment().random).with_epoch(1, real_environment().random)


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

    async def attempt() -> None:
        from fogp2p.environment import within
        from fogp2p.host import Stream
        from fogp2p.ids import ProtocolId
        from fogp2p.transports.memory import MemoryNetwork, open_memory_host

        source = real_environment().random
        network = MemoryNetwork(source)
        protocol = ProtocolId("/test/1.0.0")

        async def silent(stream: Stream) -> None:
            await trio.sleep_forever()

        async def rude(stream: Stream) -> None:
            await stream.reset()

        async with (
            open_memory_host(network, ephemeral(source).peer_id) as here,
            open_memory_host(network, ephemeral(source).peer_id) as there,
        ):
            there.set_handler(protocol, rude if act == "reset" else silent)
            if act == "unreachable":
                stranger = ephemeral(source).peer_id
                await here.connect(stranger, [parse_address("/memory/99")], deadline=within(1))
            await here.connect(there.peer_id, there.addresses, deadline=within(5))
            wanted = ProtocolId("/other/1.0.0") if act == "refused" else protocol
            stream = await here.open_stream(there.peer_id, [wanted], deadline=within(5))
            if act == "closed":
                await stream.close_write()
                await stream.write_all(b"x")
            elif act == "reset":
                await stream.read_some()

    return lambda home: trio.run(attempt)


def _too_late(home: Path) -> None:
    from fogp2p.environment import deadline_of, within

    async def attempt() -> None:
        with deadline_of(within(0.01), "waiting"):
            await trio.sleep_forever()

    trio.run(attempt)


def _dead_worker(home: Path) -> None:
    async def attempt() -> None:
        await real_environment().executor.in_process(os._exit, 3)

    trio.run(attempt)
