"""Following a transfer of the peer: one line that moves on a terminal, one for each change else."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import click

from fogp2p.client import Client, PeerSaid
from fogp2p.errors import DeadlineExceeded

from .output import Output, duration, printable, size

__all__ = ["follow"]

_LOOK_S: Final = 0.2


# What the API would have answered, had it waited; the rest is a matter of other peers.
_STATUS: Final = {"FOG-BLOB-001": 404, "FOG-LIM-001": 503, "FOG-DISK-001": 507}


def follow(output: Output, client: Client, transfer: dict[str, Any]) -> dict[str, Any]:
    """Wait for its end, and say meanwhile how far it is; return it as it is then.

    Raises DeadlineExceeded when nothing moved for --timeout seconds (the peer goes on behind it),
    PeerSaid with the error it ended with, NotRunning.
    """
    line = _Line(output)
    moved, before = time.monotonic(), _figures(transfer)
    while transfer["state"] == "running":
        line.show(transfer)
        time.sleep(_LOOK_S)
        transfer = client.get(f"transfers/{transfer['id']}")
        if _figures(transfer) != before:
            moved, before = time.monotonic(), _figures(transfer)
        elif time.monotonic() - moved > output.timeout_s:
            line.end()
            raise DeadlineExceeded(
                f"nothing came for {output.timeout_s:g} s; the peer goes on trying by itself",
                hint="fogp2p blobs  shows how far it is; the same command follows it again",
            )
    line.show(transfer)
    line.end()
    if transfer["state"] != "done":
        raise PeerSaid(
            f"{transfer['kind']} {transfer['state']}: {transfer['why']}",
            code=transfer["code"],
            status=_STATUS.get(transfer["code"], 502),
            hint=transfer["hint"],
        )
    return transfer


def _figures(transfer: dict[str, Any]) -> tuple[Any, ...]:
    return transfer["done_bytes"], transfer["size_bytes"], transfer["state"]


class _Line:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._live = sys.stderr.isatty() and not output.quiet
        self._tenth = -1

    def show(self, transfer: dict[str, Any]) -> None:
        """On a terminal over itself; elsewhere a line for each tenth."""
        text = " ".join(printable(_described(transfer)))
        if self._live:
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)
            return
        done, total = transfer["done_bytes"], transfer["size_bytes"]
        tenth = 10 * done // total if total else -1
        if tenth > self._tenth:
            self._tenth = tenth
            self._output.say(text)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._live:
            click.echo(err=True)


def _described(transfer: dict[str, Any]) -> str:
    what = transfer["name"] or (transfer["cid"] or "")[:16]
    if not transfer["size_bytes"] and transfer["state"] == "running":
        return f"{transfer['kind']} {what}: looking for it"
    parts = [
        f"{size(transfer['done_bytes'])} of {size(transfer['size_bytes'])}",
        f"{size(transfer['rate'])}/s",
    ]
    if transfer["eta_s"] is not None:
        parts.append(f"{duration(transfer['eta_s'])} left")
    if transfer["sources"]:
        parts.append(f"{len(transfer['sources'])} sources")
    return f"{transfer['kind']} {what}: {', '.join(parts)}"
