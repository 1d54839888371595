"""Real peers on real sockets, with real child processes: parts die and come back."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import fogp2p
from fogp2p.api import serve_api
from fogp2p.api.service import api_service
from fogp2p.client import Client
from fogp2p.config import Config, DiscoveryConfig, Loaded, NetworkConfig
from fogp2p.environment import real_environment, within
from fogp2p.errors import ConfigError, TransportError
from fogp2p.host import Stream
from fogp2p.node import Health, Node
from fogp2p.paths import home_paths
from fogp2p.supervisor import Probe, Service, Supervisor, open_child, open_services

CHAT = "/chat/1.0.0"


def config(listen: str = "/ip4/127.0.0.1/tcp/0", *bootstrap: str) -> Config:
    return Config(
        network=NetworkConfig(listen=(listen,)),
        discovery=DiscoveryConfig(mdns=False, bootstrap=bootstrap),
    )


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - there is no event for everything
            await trio.sleep(0.01)


def restarts(node: Node, name: str) -> int:
    return next(each.restarts for each in node.services() if each.name == name)


async def hello(stream: Stream) -> None:
    await stream.write_all(b"hello " + await stream.read_some())


async def greeted(one: Node, two: Node) -> bytes:
    async with await one.open_stream(two.peer_id, CHAT, deadline=within(10)) as stream:
        await stream.write_all(b"you")
        return await stream.read_some()


async def test_a_host_that_crashes_listens_on_its_port_again_and_is_found_there(
    tmp_path: Path,
) -> None:
    async with fogp2p.open_peer(tmp_path / "two", config=config()) as two:
        two.serve(CHAT, hello)
        address = str(two.addresses[0])
        async with fogp2p.open_peer(config=config("/ip4/127.0.0.1/tcp/0", address)) as one:
            await until(lambda: one.status().peers_agreed == 1)
            assert await greeted(one, two) == b"hello you"
            start = trio.current_time()
            await two.crash_service("host")
            await until(lambda: restarts(two, "host") == 1 and two.status().health is Health.OK)
            assert trio.current_time() - start < 1.5  # generous: other tests share this machine
            assert str(two.addresses[0]) == address
            await until(lambda: one.status().peers_agreed == two.status().peers_agreed == 1)
            assert await greeted(one, two) == b"hello you"
            assert (await one.echo(two.peer_id, [b"x"], deadline=within(10))).confirmed
            # A socket closed behind its back raises nothing by itself.
            listener = two.host._listeners[0]  # type: ignore[attr-defined]
            listener.socket.shutdown(2)
            await until(lambda: restarts(two, "host") == 2 and two.status().health is Health.OK)
            await until(lambda: one.status().peers_agreed == 1)
            assert await greeted(one, two) == b"hello you"


async def test_a_port_in_use_ends_the_start_at_once(tmp_path: Path) -> None:
    async with fogp2p.open_peer(config=config()) as one:
        port = str(one.addresses[0]).split("/")[4]
        start = trio.current_time()
        with pytest.raises(ConfigError, match=f"cannot listen on .*{port}"):
            async with fogp2p.open_peer(tmp_path, config=config(f"/ip4/127.0.0.1/tcp/{port}")):
                raise AssertionError("it does not open")
        assert trio.current_time() - start < 5  # making keys takes most of it


async def test_the_api_comes_back_after_a_crash_and_when_its_socket_is_gone(
    tmp_path: Path,
) -> None:
    paths = home_paths(tmp_path)
    settings = config()

    def ask() -> str:
        return str(Client(paths.socket).get("status")["health"])

    async with fogp2p.open_peer(paths, config=settings) as node:
        serve = partial(serve_api, node, Loaded(settings, {}), paths.socket)
        await node.add_service(api_service(serve, node.stopping, paths.socket))
        assert await trio.to_thread.run_sync(ask) == "ok"
        await node.crash_service("api")
        await until(lambda: restarts(node, "api") == 1 and node.status().health is Health.OK)
        assert await trio.to_thread.run_sync(ask) == "ok"
        paths.socket.unlink()
        await until(lambda: restarts(node, "api") == 2 and node.status().health is Health.OK)
        assert await trio.to_thread.run_sync(ask) == "ok"
        await node.restart_service("host")  # the API only wants it
        await until(lambda: restarts(node, "host") == 1 and node.status().health is Health.OK)
        assert restarts(node, "api") == 2


class Worker:
    """A service that is a child process: `cat`, asked to repeat something."""

    def __init__(self) -> None:
        self.pid = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Process]:
        async with open_child(["cat"]) as process:
            self.pid = process.pid
            yield process

    async def check(self, process: trio.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        await process.stdin.send_all(b"?")
        assert await process.stdout.receive_some(1) == b"?"


def is_ready_as(supervisor: Supervisor, worker: Worker, number: int) -> bool:
    status = supervisor.services()[0]
    return status.restarts == number and supervisor.is_ready("worker") and worker.pid != 0


async def test_killed_and_stopped_child_processes_are_replaced() -> None:
    worker = Worker()
    service = Service("worker", worker.open, probe=Probe(worker.check))
    user = Service("user", Worker().open, needs=("worker",))
    environment = real_environment()
    async with open_services([service, user], environment) as supervisor:
        before = worker.pid
        for number, harm in enumerate((signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM), 1):
            start = trio.current_time()
            os.kill(worker.pid, harm)
            await until(partial(is_ready_as, supervisor, worker, number))
            await until(lambda: supervisor.is_ready("user"))
            assert trio.current_time() - start < (6 if harm is signal.SIGSTOP else 1.5)
            assert worker.pid != before
            with pytest.raises(ProcessLookupError):
                os.kill(before, 0)
            before = worker.pid
        failures = [each.last_failure for each in supervisor.services()]
        assert failures[0].endswith("was killed by signal 15")
        assert failures[1] == ""
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


async def test_a_program_that_does_not_exist_is_a_failure_of_its_service() -> None:
    with pytest.raises(TransportError, match="cannot start"):
        async with open_child(["./no-such-program"]):
            raise AssertionError("it does not open")
