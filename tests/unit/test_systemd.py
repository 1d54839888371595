"""What systemd hears, at its end of the socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from fogp2p.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        yield listener


def _heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_it_hears_ready_and_stopping(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "HOME": "/"}
    notifier = Notifier(environ)
    assert environ == {"HOME": "/"}
    notifier.ready("3 peers\nREADY=0")
    notifier.status("x" * 300)
    notifier.stopping()
    first, second, third = _heard(manager)
    assert first == "READY=1\nSTATUS=3 peers READY=0" and second == "STATUS=" + "x" * 200
    assert third == "STOPPING=1"


async def test_the_watchdog_is_fed_twice_an_interval(
    manager: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "10000000"})
    with trio.move_on_after(29):
        await notifier.feed_watchdog()
    assert _heard(manager) == ["WATCHDOG=1"] * 6


@pytest.mark.parametrize("pid", ["1", str(os.getppid())])
async def test_a_watchdog_of_another_process_is_not_fed(manager: socket.socket, pid: str) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "5", "WATCHDOG_PID": pid}
    await Notifier(environ).feed_watchdog()
    assert _heard(manager) == []


async def test_nobody_listens_and_nothing_happens(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "@nobody"}):
        notifier = Notifier(environ)
        notifier.ready("alone")
        await notifier.feed_watchdog()
