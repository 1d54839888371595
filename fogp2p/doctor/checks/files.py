"""The peer's files: configuration, keys, rights, space."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fogp2p.doctor.context import Context
from fogp2p.doctor.findings import Finding, fault, fine
from fogp2p.environment import real_environment
from fogp2p.errors import FogError
from fogp2p.identity import Keystore
from fogp2p.limits import MIB

__all__ = ["config", "directories", "disk", "keys", "log"]

_OTHERS: Final = 0o077
_OTHERS_WRITE: Final = 0o022
# A keystore, a journal and a log fit easily; below it a database cannot grow by one extent.
_FULL_BYTES: Final = 64 * MIB
_LOW_BYTES: Final = 512 * MIB
_FULL_FILES: Final = 100
# A busy peer writes a few megabytes a day: a hundred means months, or something repeating itself.
_LARGE_LOG: Final = 100 * MIB


def config(context: Context) -> Iterator[Finding]:
    """Whether the layers can be read, and who may change the file."""
    path = context.paths.config
    if context.wrong is not None:
        yield fault(
            "config",
            "FOG-DOC-020",
            "the configuration is wrong",
            evidence=" ".join(str(context.wrong).split()),
            affects="the next start: the peer refuses it",
            hint=f"fogp2p config edit  ({context.wrong.hint or 'fogp2p config check'})",
            place=str(path),
        )
    else:
        there = str(path) if context.system.stat(path) else "no file, all defaults"
        yield fine("config", f"good ({there})", place=str(path))
    info = context.system.stat(path)
    if info is not None and info.st_mode & _OTHERS_WRITE and not stat.S_ISLNK(info.st_mode):
        yield fault(
            "config",
            "FOG-DOC-021",
            "others can change the configuration",
            evidence=f"mode {stat.S_IMODE(info.st_mode):04o}",
            affects="who may write it decides whom this peer connects to",
            hint=f"chmod 600 {path}",
            place=str(path),
            fixable=info.st_uid == context.system.uid,
        )


def keys(context: Context) -> Iterator[Finding]:
    """Rights, owner, encryption and soundness of the keystore, without its passphrase."""
    path = context.paths.keystore
    if context.system.stat(path) is None:
        yield fine("keys", "none yet: `fogp2p up` makes them", place=str(path))
        return
    wrong = list(_rights(context, path.parent, "700")) + list(_rights(context, path, "600"))
    yield from wrong
    try:
        encrypted = Keystore(path, real_environment()).is_encrypted()
    except FogError as exc:
        yield fault(
            "keys",
            "FOG-DOC-012",
            "the keys cannot be read",
            evidence=str(exc),
            affects="the next start: the peer refuses to make new keys over old ones",
            hint=exc.hint or "restore the file from a backup",
            place=str(path),
        )
        return
    if not wrong:
        how = "with a passphrase" if encrypted else "not encrypted: who has the file is this peer"
        yield fine("keys", f"yours alone, {how}", place=str(path))


def _rights(context: Context, path: Path, mode: str) -> Iterator[Finding]:
    info = context.system.stat(path)
    if info is None:
        return
    if info.st_uid != context.system.uid:
        yield fault(
            "keys",
            "FOG-DOC-011",
            "the keys belong to somebody else",
            evidence=f"{path} has owner {info.st_uid}, you are {context.system.uid}",
            affects="the next start: the peer refuses them",
            hint=f"sudo chown -R {context.system.uid} {context.paths.data}",
            place=str(path),
        )
    elif info.st_mode & _OTHERS:
        yield fault(
            "keys",
            "FOG-DOC-010",
            "others can use the keys",
            evidence=f"{path} has mode {stat.S_IMODE(info.st_mode):04o}",
            affects="who reads them is this peer; the next start is refused",
            hint=f"chmod {mode} {path}",
            place=str(path),
            fixable=True,
        )


def directories(context: Context) -> Iterator[Finding]:
    """Whether the peer can write where it must, and nobody else can."""
    wrong = False
    for path in context.directories():
        why = context.system.write(path)
        if why:
            wrong = True
            yield fault(
                "directories",
                "FOG-DOC-052",
                "a directory cannot be written",
                evidence=f"{path}: {why}",
                affects="keys, known peers and the API's socket cannot be stored",
                hint=f"make {path} writable for you, or choose another --home",
                place=str(path),
            )
        info = context.system.stat(path)
        private = path in (context.paths.state, context.paths.run)
        if private and info is not None and info.st_mode & _OTHERS:
            wrong = True
            yield fault(
                "directories",
                "FOG-DOC-053",
                "others can use a directory",
                evidence=f"{path} has mode {stat.S_IMODE(info.st_mode):04o}",
                affects="they see whom this peer met, and may reach its socket",
                hint=f"chmod 700 {path}",
                place=str(path),
                fixable=info.st_uid == context.system.uid,
            )
    if not wrong:
        yield fine("directories", f"{len(context.directories())} are there and can be written")


def disk(context: Context) -> Iterator[Finding]:
    """Free space, where the peer writes most."""
    path = _nearest(context, context.paths.state)
    try:
        free, files = context.system.free(path)
    except OSError as exc:
        yield fault(
            "disk",
            "FOG-DOC-052",
            "a directory cannot be written",
            evidence=f"{path}: {exc.strerror or exc}",
            affects="nothing can be stored",
            hint=f"make {path} readable for you, or choose another --home",
            place=str(path),
        )
        return
    shown = f"{free // MIB} MiB free for {path}"
    low = free < _LOW_BYTES or files < _FULL_FILES
    if not low:
        yield fine("disk", shown, place=str(path))
        return
    full = free < _FULL_BYTES or files < _FULL_FILES
    yield fault(
        "disk",
        "FOG-DOC-050" if full else "FOG-DOC-051",
        f"the disk is {'full' if full else 'nearly full'}",
        evidence=shown if files >= _FULL_FILES else f"{files} more files possible in {path}",
        affects=f"{'' if full else 'soon: '}messages, keys and known peers cannot be stored",
        hint=f"free some space where {path} is: df -h {path}",
        place=str(path),
    )


def _nearest(context: Context, path: Path) -> Path:
    return next(each for each in (path, *path.parents) if context.system.stat(each) is not None)


def log(context: Context) -> Iterator[Finding]:
    """The log of a peer in the background."""
    path = context.paths.log
    info = context.system.stat(path)
    if info is None:
        yield fine("log", "none: no peer ran in the background", place=str(path))
    elif info.st_size > _LARGE_LOG:
        yield fault(
            "log",
            "FOG-DOC-054",
            "the log is large",
            evidence=f"{path} has {info.st_size // MIB} MiB",
            affects="the disk fills up",
            hint=f"fogp2p logs -n 50  says what repeats itself; to empty it: truncate -s 0 {path}",
            place=str(path),
        )
    else:
        yield fine("log", f"{info.st_size // 1024} KiB", place=str(path))
