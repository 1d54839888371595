"""Tells systemd how this process is (sd_notify(3)): ready, stopping, alive.

A datagram on the socket that `NOTIFY_SOCKET` names, which is all the protocol there is. Without the
variable nothing is sent. The watchdog is fed from the event loop: when the loop hangs, systemd
starts the peer again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

import trio

__all__ = ["Notifier"]


class Notifier:
    """Takes its variables out of `environ`, so that child processes do not speak for us."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        interval = environ.pop("WATCHDOG_USEC", "")
        owner = environ.pop("WATCHDOG_PID", "")
        # "@" stands for the zero byte of an abstract name.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        mine = owner in ("", str(os.getpid()))
        self._watchdog_s = int(interval) / 1e6 if interval.isdecimal() and mine else 0.0

    def ready(self, status: str) -> None:
        """The peer serves; `status` is shown by `systemctl status`."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Show another line."""
        self._send(f"STATUS={_line(status)}")

    def stopping(self) -> None:
        """The peer has begun to stop."""
        self._send("STOPPING=1")

    async def feed_watchdog(self) -> None:
        """Say twice in each interval that the event loop turns; returns at once without one."""
        if self._watchdog_s == 0.0:
            return
        while True:
            self._send("WATCHDOG=1")
            await trio.sleep(self._watchdog_s / 2)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto(text.encode("utf-8"), self._address)
            except OSError:
                # Whoever watched is gone or does not listen: no reason for a peer to fail.
                return


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
