"""What commands print with `--json`: one class for each, with its schema's name.

Answers that come from the peer have their classes where they are made; `find` knows where.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fogp2p.schema import about, named, schemas

__all__ = [
    "BackedUp",
    "BackupContents",
    "BackupFile",
    "Completion",
    "ConfigCheck",
    "ConfigEdited",
    "ConfigShow",
    "ConfigWhere",
    "Dashboard",
    "Error",
    "EventLine",
    "GetDone",
    "GetSource",
    "Id",
    "LogLine",
    "ManPage",
    "ManPages",
    "Page",
    "Place",
    "Restored",
    "SandboxRun",
    "SandboxWalls",
    "Schemas",
    "SettingShown",
    "ShareMade",
    "Stopped",
    "Testnet",
    "TestnetPeer",
    "Topic",
    "Topics",
    "Up",
    "Version",
    "Waited",
    "Wall",
    "known_schemas",
]


@named("error/1")
@dataclass(frozen=True, slots=True)
class Error:
    """On standard error, whenever a command fails."""

    code: str = field(metadata=about("The number of the error: fogp2p docs CODE."))
    message: str = field(metadata=about("What happened."))
    hint: str = field(metadata=about("What to type or do next; may be empty."))
    docs: str = field(metadata=about("The command that shows its page."))
    retry_after_s: float | None = field(metadata=about("When the same may succeed, if ever."))
    exit: int = field(metadata=about("The exit code.", minimum=1, maximum=143))


@named("up/1")
@dataclass(frozen=True, slots=True)
class Up:
    """A peer was started in the background."""

    peer_id: str
    pid: int
    log: str = field(metadata=about("The file it logs to."))
    invite: str | None = field(default=None, metadata=about("What to give away, with --invite."))


@named("down/1")
@dataclass(frozen=True, slots=True)
class Stopped:
    """The peer has stopped."""

    stopped: bool
    took_s: float


@named("wait/1")
@dataclass(frozen=True, slots=True)
class Waited:
    """What was waited for is so."""

    condition: str = field(metadata=about("As asked: online, ready, peers=3, service=mdns."))
    took_s: float


@named("id/1")
@dataclass(frozen=True, slots=True)
class Id:
    """Who this peer is."""

    peer_id: str
    running: bool
    addresses: tuple[str, ...] = field(metadata=about("What others can dial; none when down."))


@dataclass(frozen=True, slots=True)
class SettingShown:
    """One setting."""

    value: bool | int | float | str | tuple[str, ...]
    origin: str = field(metadata=about("default, or the file, variable or flag it came from."))
    about: str


@named("config-show/1")
@dataclass(frozen=True, slots=True)
class ConfigShow:
    """Every setting as it is in effect here."""

    settings: dict[str, SettingShown]


@named("config-check/1")
@dataclass(frozen=True, slots=True)
class ConfigCheck:
    """The configuration is good; otherwise an error says what is not."""

    ok: bool
    file: str
    there: bool = field(metadata=about("Whether there is such a file."))


@named("config-edited/1")
@dataclass(frozen=True, slots=True)
class ConfigEdited:
    """What the file says now. A running peer takes it up when it is started again."""

    file: str
    key: str = field(metadata=about("The setting, or empty when the whole file was."))
    value: bool | int | float | str | tuple[str, ...] | None = field(
        metadata=about("What the file, or the default, has for it now.")
    )
    backup: str = field(metadata=about("The file as it was before; empty if nothing was changed."))


@dataclass(frozen=True, slots=True)
class Place:
    """One file or directory of the peer."""

    path: str
    there: bool
    size_bytes: int | None
    safe_to_delete: bool = field(metadata=about("While the peer is down, and losing only time."))


@named("config-where/1")
@dataclass(frozen=True, slots=True)
class ConfigWhere:
    """Where the peer keeps its files."""

    places: dict[str, Place]


@named("log/1")
@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log. A traceback has neither time nor level nor place."""

    at: str = field(metadata=about("As 2026-11-24T10:39:13Z; empty in a continued entry."))
    level: str
    where: str
    message: str


@named("event/1")
@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened in the peer; of type "gap" when some before it are missing."""

    id: int = field(metadata=about("Rises by one; begins anew with the process.", minimum=0))
    at: str = field(metadata=about("RFC 3339, UTC."))
    type: str = field(metadata=about("peer.connected, gap, ..."))
    v: int = field(metadata=about("Version of `data` for this type."))
    data: dict[str, Any]


@named("dashboard/1")
@dataclass(frozen=True, slots=True)
class Dashboard:
    """A link that opens the dashboard once."""

    url: str
    ttl_s: float = field(metadata=about("Seconds until the link is worth nothing."))


@dataclass(frozen=True, slots=True)
class Topic:
    """A page of the manual."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class BackupFile:
    """One file in a backup."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BackupContents:
    """What a backup holds."""

    file: str
    created: int = field(metadata=about("Seconds since 1970 UTC."))
    program: str = field(metadata=about("Who wrote it, with version."))
    encrypted: bool
    files: tuple[BackupFile, ...]


@named("backup/1")
@dataclass(frozen=True, slots=True)
class BackedUp(BackupContents):
    """A backup was written."""


@named("restore/1")
@dataclass(frozen=True, slots=True)
class Restored(BackupContents):
    """A backup was put in place."""

    kept: tuple[str, ...] = field(metadata=about("Names under which old files are kept."))


@named("topics/1")
@dataclass(frozen=True, slots=True)
class Topics:
    """Every page of the manual."""

    topics: tuple[Topic, ...]


@named("docs/1")
@dataclass(frozen=True, slots=True)
class Page:
    """A page of the manual."""

    name: str
    title: str
    markdown: str


@named("completion/1")
@dataclass(frozen=True, slots=True)
class Completion:
    """What a shell has to read so that it completes our commands."""

    shell: str
    script: str


@dataclass(frozen=True, slots=True)
class ManPage:
    """One manual page; `path` is empty when it was not written to a file."""

    name: str
    path: str
    roff: str


@named("man/1")
@dataclass(frozen=True, slots=True)
class ManPages:
    """The manual pages."""

    pages: tuple[ManPage, ...]


@named("schemas/1")
@dataclass(frozen=True, slots=True)
class Schemas:
    """JSON Schemas (2020-12) by name."""

    schemas: dict[str, dict[str, Any]]


@named("sandbox-run/1")
@dataclass(frozen=True, slots=True)
class SandboxRun:
    """How a job ended."""

    ending: str
    exit_code: int | None
    value: Any
    message: str
    stdout: str
    stderr: str
    dropped_bytes: int
    fuel: int
    wall_s: float
    runtime: str


@dataclass(frozen=True, slots=True)
class Wall:
    """One wall of the sandbox."""

    stands: bool
    why: str


@named("sandbox-walls/1")
@dataclass(frozen=True, slots=True)
class SandboxWalls:
    """Which walls stand on this machine."""

    runtime: str
    walls: dict[str, Wall]


@dataclass(frozen=True, slots=True)
class TestnetPeer:
    """One process of a test network."""

    name: str
    peer_id: str
    home: str
    pid: int | None


@named("testnet/1")
@dataclass(frozen=True, slots=True)
class Testnet:
    """A test network that runs until Ctrl+C."""

    found_by: str
    peers: tuple[TestnetPeer, ...]


@named("share/1")
@dataclass(frozen=True, slots=True)
class ShareMade:
    """A file that others can get."""

    cid: str
    key: str | None = field(repr=False, metadata=about("Of a sealed file; else null."))
    link: str = field(repr=False, metadata=about("What others type behind `fogp2p get`."))
    name: str
    size_bytes: int
    announced: int = field(metadata=about("How many peers keep the announcement."))


@dataclass(frozen=True, slots=True)
class GetSource:
    """Where chunks came from in this run."""

    peer_id: str
    chunks: int


@named("get/1")
@dataclass(frozen=True, slots=True)
class GetDone:
    """A blob was written to a file."""

    cid: str
    path: str
    size_bytes: int = field(metadata=about("Of the file."))
    sources: tuple[GetSource, ...] = field(metadata=about("None when all of it was here."))
    took_s: float = field(metadata=about("How long fetching took."))
    rate: float = field(metadata=about("Bytes a second."))


@named("version/1")
@dataclass(frozen=True, slots=True)
class Version:
    """Which version this is."""

    fogp2p: str
    python: str


# Answers with classes elsewhere.
_ELSEWHERE: Final = (
    "fogp2p.api",
    "fogp2p.cli.commands.demo",
    "fogp2p.conformance.report",
    "fogp2p.doctor",
    "fogp2p.sim.report",
)


def known_schemas() -> Mapping[str, type[Any]]:
    """Every schema that a command may print, sorted by name."""
    for module in _ELSEWHERE:
        importlib.import_module(module)
    return dict(_ours())


def _ours() -> Iterator[tuple[str, type[Any]]]:
    return ((name, kind) for name, kind in schemas() if kind.__module__.startswith("fogp2p."))
