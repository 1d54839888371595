"""fogp2p get"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import click

from fogp2p.cli.answers import GetDone, GetSource
from fogp2p.cli.exits import Refused, WrongUse
from fogp2p.cli.output import Output, duration, printable, size
from fogp2p.cli.peer import find_peer
from fogp2p.cli.transfers import follow
from fogp2p.client import Client
from fogp2p.environment import DiskError
from fogp2p.errors import RemoteProtocolError
from fogp2p.killpoints import killpoint
from fogp2p.protocols.blob import CHUNK_BYTES, Cid, file_name, make_manifest, open_pieces
from fogp2p.protocols.blob.answers import key_of_text
from fogp2p.schema import answer

__all__ = ["command"]

# File systems without hard links: memory sticks, some network shares.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})


@click.command("get")
@click.argument("blob", metavar="CID[#KEY]")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Where to write it."
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--from", "sources", multiple=True, metavar="PEER", help="Ask this peer first.")
@click.pass_obj
def command(
    output: Output, blob: str, target: Path | None, force: bool, sources: tuple[str, ...]
) -> None:
    """Fetch a blob from whoever has it and write it to a file, once it is whole and checked.

    What arrived stays when anything ends on the way: the same command goes on from there. Gives up
    watching when nothing came for --timeout seconds; the peer goes on for a day.
    """
    cid_text, _, key_text = blob.partition("#")
    try:
        cid = Cid.parse(cid_text)
    except RemoteProtocolError as exc:  # typed here, not sent by a peer
        raise WrongUse(f"{cid_text!r} is {exc}", hint=exc.hint) from exc
    key = key_of_text(key_text) if key_text else None
    client = output.client()
    if target is not None:
        _check_free(_path(target, None, cid_text), force)
    asked = {"sources": [find_peer(client, each) for each in sources]}
    done = follow(output, client, client.post(f"blobs/{cid}/fetch", asked))
    kept = client.get(f"blobs/{cid}")
    path = _path(target, kept["name"], cid_text)
    _check_free(path, force)
    written = _write(client, cid, kept, key, path, force)
    made = GetDone(
        cid_text,
        str(path),
        written,
        tuple(GetSource(each["peer_id"], each["chunks"]) for each in done["sources"]),
        round(done["took_s"], 3),
        done["rate"],
    )
    output.result(answer(made), printable(str(path)))
    output.say(f"{size(written)} in {duration(done['took_s'])}, {size(done['rate'])}/s")


def _path(target: Path | None, name: str | None, cid: str) -> Path:
    """Where it goes. A name that a peer gave is a label: one part, never a path."""
    if target is not None and not target.is_dir():
        return target.absolute()
    folder = target if target is not None else Path()
    return (folder / (file_name(name) if name else cid)).absolute()


def _check_free(path: Path, force: bool) -> None:
    if os.path.lexists(path) and not force:
        raise Refused(f"{path} is there already", hint="--force writes over it; -o FILE elsewhere")


def _write(
    client: Client, cid: Cid, kept: dict[str, Any], key: bytes | None, path: Path, force: bool
) -> int:
    """Write beside the target, check, and give it its name. Returns the bytes written."""
    try:
        with _temporary(path, str(cid)) as (file, temporary):
            checked = _Checked(kept["size_bytes"], key, file)
            client.download(f"blobs/{cid}/content", checked.take)
            checked.end(cid)
            file.flush()
            os.fsync(file.fileno())
            killpoint("get.written")
            _name(temporary, path, force)
            killpoint("get.named")
            return file.tell()
    except OSError as exc:
        raise DiskError(
            f"cannot write {path}: {exc.strerror}", hint="choose another place with -o"
        ) from exc


@contextmanager
def _temporary(path: Path, cid: str) -> Iterator[tuple[IO[bytes], Path]]:
    """A file of ours in the same directory; one that a crash left is written anew."""
    temporary = path.with_name(f".{cid[-24:]}.{os.getpid()}.part")
    with suppress(FileNotFoundError):
        temporary.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            yield file, temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _name(temporary: Path, path: Path, force: bool) -> None:
    """Give the whole file its name. Raises Refused if somebody else took it meanwhile."""
    if force:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # unlike a rename it never writes over anything
    except FileExistsError as exc:
        raise Refused(f"{path} is there already", hint="--force writes over it") from exc
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        _check_free(path, force)
        temporary.replace(path)


class _Checked:
    """Cuts a content into chunks again, so that its name can be computed; opens what is sealed."""

    def __init__(self, total: int, key: bytes | None, file: IO[bytes]) -> None:
        self._total = total
        self._hashes: list[bytes] = []
        self._waiting = bytearray()
        self._ready: list[bytes] = []
        self._put: Callable[[bytes], Any] = file.write
        self._opened: Iterator[bytes] | None = None
        if key is not None:
            self._opened = open_pieces(key, self._next(), -(-total // CHUNK_BYTES))

    def take(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) >= CHUNK_BYTES:
            self._chunk(bytes(self._waiting[:CHUNK_BYTES]))
            del self._waiting[:CHUNK_BYTES]

    def end(self, cid: Cid) -> None:
        """Raises RemoteProtocolError when it is not what the name says."""
        if self._waiting:
            self._chunk(bytes(self._waiting))
        if make_manifest(self._total, self._hashes)[0] != cid:
            raise RemoteProtocolError("the content is not what its name says", code="blob-chunk")

    def _chunk(self, chunk: bytes) -> None:
        self._hashes.append(hashlib.sha256(chunk).digest())
        if self._opened is not None:
            self._ready.append(chunk)
            chunk = next(self._opened)
        self._put(chunk)

    def _next(self) -> Iterator[bytes]:
        while True:
            yield self._ready.pop()
