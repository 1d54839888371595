"""One peer in a process of its own: started, asked, killed, started again."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from fogp2p.client import Client, NotRunning
from fogp2p.environment import Environment
from fogp2p.errors import FogError
from fogp2p.paths import home_paths
from fogp2p.process import command_line

__all__ = ["LocalPeer", "PeerFailed"]

# Importing takes under a second; a loaded machine with one core may take thirty times as long.
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0
_REQUEST_TIMEOUT_S: Final = 30.0
# Whoever asks for events after a number that is not reached yet is told the newest one.
_NOT_YET: Final = 2**52


class PeerFailed(FogError):
    """A peer's process did not start or ended by itself; the message has the end of its log."""

    number = "FOG-TEST-001"


class LocalPeer:
    """A peer with a directory of its own. `name` is for people, `peer_id` known once started."""

    def __init__(
        self, name: str, home: Path, settings: tuple[str, ...], environment: Environment
    ) -> None:
        self.name = name
        self.home = home
        self.settings = settings
        self.peer_id = ""
        self._environment = environment
        self._process: trio.Process | None = None
        self._client = Client(home_paths(home).socket, timeout_s=_REQUEST_TIMEOUT_S)

    @property
    def log(self) -> Path:
        """Where it writes what happens."""
        return self.home / "log"

    @property
    def pid(self) -> int | None:
        """Its process, while it has one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises PeerFailed."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = await trio.lowlevel.open_process(
                    command_line(str(self.home), self.settings, write_end),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_end,),
                    start_new_session=True,
                )
        finally:
            os.close(write_end)
        line = b""
        async with trio.lowlevel.FdStream(read_end) as pipe:
            with trio.move_on_after(START_TIMEOUT_S):
                while not line.endswith(b"\n") and (part := await pipe.receive_some(256)):
                    line += part
        if not line.endswith(b"\n"):
            await self.kill()
            raise PeerFailed(f"{self.name} did not start:\n{self.log_tail()}")
        self.peer_id = line.decode("ascii").strip()

    async def get(self, route: str) -> dict[str, Any]:
        """Ask its API. Raises NotRunning and PeerSaid."""
        return await self._call(lambda: self._client.get(route))

    async def post(self, route: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask its API. Raises NotRunning and PeerSaid."""
        return await self._call(lambda: self._client.post(route, fields))

    async def last_event(self) -> int:
        """The number of its newest event. Raises NotRunning and PeerSaid."""
        return int((await self._call(lambda: next(self._client.events(since=_NOT_YET))))["id"])

    async def happened(self, since: int) -> list[dict[str, Any]]:
        """Its events after number `since`, up to now. Raises NotRunning and PeerSaid."""
        last, found = await self.last_event(), []

        def read() -> dict[str, Any]:
            for event in self._client.events(since=since) if last > since else ():
                found.append(event)
                if event["id"] >= last:
                    break
            return {}

        await self._call(read)
        return found

    async def _call(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return await self._environment.executor.in_thread(ask)

    async def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        if self._process is not None:
            self._process.kill()
            with trio.CancelScope(shield=True):
                await self._process.wait()
            self._process = None

    async def stop(self) -> None:
        """Ask it to stop; kill it if it does not."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_TIMEOUT_S):
            await self._process.wait()
        await self.kill()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay, and nobody answers on them."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    async def sha256(self, route: str) -> str:
        """The hash of a content that its API gives. Raises NotRunning and PeerSaid."""

        def read() -> str:
            found = hashlib.sha256()
            self._client.download(route, found.update)
            return found.hexdigest()

        return await self._environment.executor.in_thread(read)

    async def connected(self) -> set[str]:
        """The ids of the peers it is connected to and agreed with; empty when it is not running."""
        try:
            answer = await self.get("peers")
        except NotRunning:
            return set()
        return {peer["peer_id"] for peer in answer["peers"] if not peer["not_agreed"]}

    def log_tail(self) -> str:
        """The last lines of its log."""
        try:
            return self.log.read_text("utf-8", "replace")[-2_000:].strip()
        except OSError:
            return "(no log)"
