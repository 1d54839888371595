"""One file with everything a peer cannot make again, and the way back.

Blocking, for commands: a backup may be made while the peer runs, a restore not. Spec:
specs/backup/backup-v1.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from .codec import Schema, decode, encode
from .environment import DiskError, Environment, disk_error, sync_directory
from .errors import FogError, KeystoreError, RemoteProtocolError
from .identity import DEFAULT_MEMORY, DEFAULT_OPS, Keystore, derive_key, new_kdf
from .killpoints import killpoint
from .limits import KIB, MIB
from .paths import Paths
from .process import hold
from .store import StoreUnavailable, check_store_file, copy_store

__all__ = ["BackupError", "Contents", "RestoreUnfinished", "check_restored", "restore", "save"]

_MAGIC: Final = b"fogp2p backup\n"
_SPEC: Final = "backup/v1.cddl"
_CHUNK: Final = 64 * KIB
# A chunk with the encryption's overhead; headers are smaller.
_MAX_FRAME: Final = _CHUNK + sodium.crypto_secretstream_xchacha20poly1305_ABYTES
_MORE: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
# Old files that a restore keeps under numbered names; more are more than anybody looks through.
_ASIDES: Final = 100


class BackupError(FogError):
    """The backup cannot be made, read or put in place. Nothing was replaced."""

    number = "FOG-BAK-001"


class RestoreUnfinished(FogError):
    """A restore was interrupted between two files. Run it again before the peer is started."""

    number = "FOG-BAK-002"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: (name, bytes) of each file. `created`: seconds since 1970 UTC."""

    created: int
    program: str
    files: tuple[tuple[str, int], ...]
    is_encrypted: bool
    aside: tuple[str, ...] = ()
    """After a restore: the names under which old files were kept."""


# What a home consists of: the name in the backup, where it is, how large it may be. Placed in this
# order, keys last: until then a half restored home has no new name.
_FILES: Final[dict[str, tuple[Callable[[Paths], Path], int]]] = {
    "store": (lambda paths: paths.store, 16 * KIB * MIB),
    "known-peers": (lambda paths: paths.known_peers, 16 * MIB),
    "invites": (lambda paths: paths.invites, 2 * MIB),
    "config": (lambda paths: paths.config, 1 * MIB),
    "identity": (lambda paths: paths.keystore, 16 * KIB),
}


def save(
    paths: Paths,
    target: Path,
    environment: Environment,
    *,
    program: str,
    passphrase: str | None,
    ops: int = DEFAULT_OPS,
    memory: int = DEFAULT_MEMORY,
) -> Contents:
    """Write a backup of the home into the new file `target`, encrypted if there is a passphrase.

    `program`: who writes it, with version, for the reader's message when it is too new.

    The peer may run. Raises BackupError, StoreUnavailable (a damaged store), DiskError; the target
    is then not there.
    """
    if target.exists():
        raise BackupError(f"{target} exists already", hint="choose another name")
    passing = target.with_name(f".{target.name}.{os.getpid()}.new")
    copy = target.with_name(f".{target.name}.{os.getpid()}.store")
    leftovers = (copy.with_name(f"{copy.name}-journal"), copy, passing)
    try:
        _remove_all(leftovers)  # of a process with our pid that was killed
        sources = {n: where(paths) for n, (where, _) in _FILES.items() if where(paths).exists()}
        if not sources:
            raise BackupError(f"there is no peer in {paths.data}", hint="`fogp2p up` makes one")
        if "store" in sources:
            _make(copy).close()
            copy_store(sources["store"], copy)
            sources["store"] = copy
            killpoint("backup.copied")
        created = int(environment.clock.wall())
        sizes = {name: source.stat().st_size for name, source in sources.items()}
        files = [{1: n, 2: sizes[n], 3: _digest(source)} for n, source in sources.items()]
        kdf = None
        if passphrase is not None:
            kdf = new_kdf(environment.random, ops=ops, memory=memory)
        with _make(passing) as file:
            writer = _Writer(file, kdf, passphrase)
            writer.chunk(encode({1: created, 2: program, 3: files}))
            for source in sources.values():
                with source.open("rb") as data:
                    while part := data.read(_CHUNK):
                        writer.chunk(part)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        killpoint("backup.written")
        os.link(passing, target)  # unlike a rename it never replaces what appeared meanwhile
        sync_directory(target.parent)
        killpoint("backup.done")
    except OSError as exc:
        raise disk_error("write", target, exc) from exc
    finally:
        _remove_all(leftovers)
    return Contents(created, program, tuple(sizes.items()), kdf is not None)


def restore(
    paths: Paths,
    source: Path,
    environment: Environment,
    *,
    passphrase: str | None,
    force: bool = False,
) -> Contents:
    """Put the files of a backup in place, after all of it is verified.

    `force`: also where there is a peer already; its files get second names. Raises LockedError when
    it runs, BackupError, DiskError; before the last of these nothing was replaced, after a crash
    run it again (see `check_restored`).
    """
    with ExitStack() as stack:
        stack.enter_context(hold(paths.lock))
        unfinished = _unfinished(paths).exists()
        there = [where(paths) for where, _ in _FILES.values() if where(paths).exists()]
        if there and not force and not unfinished:
            raise BackupError(
                f"there is a peer already: {there[0]}",
                hint="--force replaces it and keeps its files under other names",
            )
        staged = {name: _passing(where(paths)) for name, (where, _) in _FILES.items()}
        stack.callback(_remove_all, tuple(staged.values()))
        contents = _unpack(source, staged, passphrase)
        killpoint("restore.unpacked")
        _verify(staged, contents, environment)
        killpoint("restore.checked")
        environment.disk.replace(_unfinished(paths), b"run `fogp2p restore` again\n")
        killpoint("restore.marked")
        asides: list[str] = []
        for name, _ in sorted(contents.files, key=lambda file: list(_FILES).index(file[0])):
            target = _FILES[name][0](paths)
            try:
                asides += _set_aside(target)
                staged[name].rename(target)
                sync_directory(target.parent)
            except OSError as exc:
                raise disk_error("replace", target, exc) from exc
            killpoint("restore.placed")
        environment.disk.remove(_unfinished(paths))
        killpoint("restore.done")
    return Contents(
        contents.created, contents.program, contents.files, contents.is_encrypted, tuple(asides)
    )


def check_restored(paths: Paths) -> None:
    """Raise RestoreUnfinished when a restore was interrupted. Call it before starting a peer."""
    if _unfinished(paths).exists():
        raise RestoreUnfinished(
            f"a restore into {paths.data} did not finish",
            hint="run the same `fogp2p restore` again",
        )


# --- frames --------------------------------------------------------------------------------------


class _Writer:
    """Frames out: encrypted, or with a digest at the end."""

    def __init__(self, file: IO[bytes], kdf: Any, passphrase: str | None) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._state: Any = None
        head: bytes | None = None
        if kdf is not None:
            self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
            key = derive_key(passphrase or "", kdf)
            head = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        self._header = encode({1: 1, 2: kdf, 3: head})
        self._write(_MAGIC)
        self._frame(self._header)

    def chunk(self, content: bytes, tag: int = _MORE) -> None:
        """One chunk of content."""
        if self._state is None:
            self._frame(bytes([tag]) + content)
            return
        push = sodium.crypto_secretstream_xchacha20poly1305_push
        self._frame(push(self._state, content, self._header, tag))

    def finish(self) -> None:
        """The last chunk, and the digest of an unencrypted file."""
        self.chunk(b"", _FINAL)
        if self._state is None:
            self._frame(self._hash.digest())

    def _frame(self, data: bytes) -> None:
        self._write(len(data).to_bytes(4) + data)

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)


class _Reader:
    """Frames in. Everything raises BackupError that is not as written."""

    def __init__(self, file: IO[bytes], path: Path, passphrase: str | None) -> None:
        self._file = file
        self._path = path
        self._hash = hashlib.sha256()
        self._state: Any = None
        if self._read(len(_MAGIC)) != _MAGIC:
            raise BackupError(f"{path} is no backup of fogp2p")
        self._header = self._frame()
        kdf, head = self._checked_header()
        self.is_encrypted = kdf is not None
        if kdf is None:
            return
        if passphrase is None or head is None:
            raise BackupError(
                f"{path} is encrypted", hint="give its passphrase in FOGP2P_BACKUP_PASSPHRASE"
            )
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        try:
            key = derive_key(passphrase, kdf)
        except ValueError:
            raise self.damaged() from None
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(self._state, head, key)

    def chunk(self) -> tuple[bytes, bool]:
        """Content, and whether it is the last chunk."""
        data = self._frame()
        if self._state is None:
            if not data or data[0] not in (_MORE, _FINAL):
                raise self.damaged()
            return data[1:], data[0] == _FINAL
        if len(data) < sodium.crypto_secretstream_xchacha20poly1305_ABYTES:
            raise self.damaged()
        pull = sodium.crypto_secretstream_xchacha20poly1305_pull
        try:
            content, tag = pull(self._state, data, self._header)
        except CryptoError:
            # From None: the chain would show the frames that hold the passphrase.
            raise BackupError(
                f"wrong passphrase for {self._path}, or the file is damaged"
            ) from None
        return content, tag == _FINAL

    def finish(self) -> None:
        """Read the last chunk and what follows it."""
        if self.chunk() != (b"", True):
            raise self.damaged()
        if self._state is None:
            expected = self._hash.digest()
            if not hmac.compare_digest(self._frame(), expected):
                raise self.damaged()
        if self._file.read(1):
            raise self.damaged()

    def damaged(self) -> BackupError:
        return BackupError(f"{self._path} is damaged", hint="use another backup")

    def _checked_header(self) -> tuple[Any, bytes | None]:
        version = self._header[2] if self._header[:2] == b"\xa3\x01" else 1
        if 2 <= version <= 0x17:
            raise BackupError(
                f"{self._path} has version {version}, this program reads version 1",
                hint="use the newer fogp2p that wrote it",
            )
        try:
            header = decode(self._header, schema=Schema.load(_SPEC, "header"), max_bytes=KIB)
        except RemoteProtocolError as exc:
            raise self.damaged() from exc
        return header[2], header[3]

    def _frame(self) -> bytes:
        length = int.from_bytes(self._read(4))
        if length > _MAX_FRAME:
            raise self.damaged()
        return self._read(length)

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise BackupError(f"{self._path} ends early", hint="use another backup")
        self._hash.update(data)
        return data


# --- restoring -----------------------------------------------------------------------------------


def _unpack(source: Path, staged: dict[str, Path], passphrase: str | None) -> Contents:
    """Write every file under its passing name; all digests fit when this returns."""
    with _reading(source) as file:
        reader = _Reader(file, source, passphrase)
        table, is_last = reader.chunk()
        try:
            found = decode(table, schema=Schema.load(_SPEC, "contents"), max_bytes=4 * KIB)
        except RemoteProtocolError as exc:
            raise reader.damaged() from exc
        names = [each[1] for each in found[3]]
        if is_last or len(set(names)) != len(names):
            raise reader.damaged()
        for each in found[3]:
            name, size, digest = each[1], each[2], each[3]
            if name not in _FILES or size > _FILES[name][1]:
                raise BackupError(
                    f"{source} holds a file {name!r} of {size} bytes, which this program does not"
                    " expect",
                    hint="use the fogp2p that wrote it: " + found[2],
                )
            _unpack_one(reader, staged[name], size, digest)
        reader.finish()
    files = tuple((each[1], each[2]) for each in found[3])
    return Contents(found[1], found[2], files, reader.is_encrypted)


def _unpack_one(reader: _Reader, target: Path, size: int, digest: bytes) -> None:
    state = hashlib.sha256()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # left by a crash
        with _make(target) as file:
            while size > 0:
                content, is_last = reader.chunk()
                if is_last or not content or len(content) > size:
                    raise reader.damaged()
                size -= len(content)
                state.update(content)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise disk_error("write", target, exc) from exc
    if not hmac.compare_digest(state.digest(), digest):
        raise reader.damaged()


def _verify(staged: dict[str, Path], contents: Contents, environment: Environment) -> None:
    """What the files say themselves, beyond their digests."""
    names = {name for name, _ in contents.files}
    try:
        if "identity" in names:
            Keystore(staged["identity"], environment).is_encrypted()
        if "store" in names:
            check_store_file(staged["store"])
    except (KeystoreError, StoreUnavailable) as exc:
        raise BackupError(f"the backup cannot be used: {exc}", hint=exc.hint) from exc


def _set_aside(target: Path) -> list[str]:
    """Give an old file, and SQLite's files beside it, a second name; return the new names.

    A log that stayed would be played into the new database, so it goes first. The old file itself
    stays until the new one replaces it: there is never none.
    """
    kept: list[str] = []
    beside = [target.with_name(target.name + ending) for ending in ("-wal", "-shm", ".mark")]
    if any(path.exists() for path in (target, *beside)):
        free = _free_name(target)
        for path in beside:
            if path.exists():
                path.rename(free.with_name(free.name + path.name.removeprefix(target.name)))
        if target.exists():
            os.link(target, free)
            kept.append(free.name)
        sync_directory(target.parent)
        killpoint("restore.aside")
    return kept


def _free_name(target: Path) -> Path:
    for number in range(1, _ASIDES + 1):
        name = target.with_name(f"{target.name}.before-restore-{number}")
        if not name.exists() and not name.with_name(name.name + "-wal").exists():
            return name
    raise DiskError(
        f"{_ASIDES} old copies of {target} are kept", hint="remove some *.before-restore-*"
    )


def _passing(target: Path) -> Path:
    return target.with_name(f".{target.name}.restore")


def _unfinished(paths: Paths) -> Path:
    return paths.data / "restore-unfinished"


def _remove_all(files: tuple[Path, ...]) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _make(path: Path) -> IO[bytes]:
    """A new file, for us alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as exc:
        raise disk_error("read", path, exc) from exc


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
