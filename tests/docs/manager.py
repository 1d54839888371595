"""Starts a unit's program as systemd does, and waits until it says that it is ready."""

from __future__ import annotations

import socket
from pathlib import Path

from .machine import LINE_S, Machine, PageFailed


def start_unit(machine: Machine, name: str) -> None:
    """Start the user's unit `name`, from where its page has put it."""
    unit = machine.home / ".config" / "systemd" / "user" / name
    (program,) = [
        line.removeprefix("ExecStart=").replace("%h", str(machine.home))
        for line in unit.read_text("utf-8").splitlines()
        if line.startswith("ExecStart=")
    ]
    path = Path(machine.home) / ".notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(LINE_S)
        line = f"NOTIFY_SOCKET={path} WATCHDOG_USEC=200000 {program}"
        machine.start(line)
        seen = set()
        try:
            # Ready, and then the sign of life that the watchdog waits for.
            while not {"READY=1", "WATCHDOG=1"} <= seen:
                seen |= set(heard.recv(4096).decode().splitlines())
        except TimeoutError:
            printed = machine.printed_by(line)
            raise PageFailed(f"{line}\nsaid only {sorted(seen)}; it printed:\n{printed}") from None
