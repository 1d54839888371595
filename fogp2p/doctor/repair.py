"""The safe repairs: rights of our own files, and a socket nobody listens on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from .context import Context
from .diagnose import diagnose
from .findings import Diagnosis, Finding, Repaired

__all__ = ["repair"]


def repair(context: Context, found: Diagnosis, *, only: Sequence[str] = ()) -> Diagnosis:
    """Mend what `found` marks as fixable, and look again (`only` as in `diagnose`). Blocks.

    Nothing is deleted but a socket without a listener, and no rights are given, only taken.
    """
    done = tuple(
        _mend(context, finding, _REPAIRS[finding.code])
        for finding in found.findings
        if finding.fixable
    )
    if not done:
        return found
    return replace(diagnose(context, only=only), repaired=done)


def _mend(context: Context, finding: Finding, mend: Callable[[Context, Path], str]) -> Repaired:
    try:
        what = mend(context, Path(finding.place))
    except OSError as exc:
        return Repaired(finding.code, finding.place, False, exc.strerror or str(exc))
    return Repaired(finding.code, finding.place, bool(what), what or "it changed in the meantime")


def _take_rights(context: Context, path: Path) -> str:
    # By handle, without following: a link put there in the meantime must not lead us astray.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        info = os.fstat(handle)
        if info.st_uid != context.system.uid:
            return ""
        mode = 0o700 if stat.S_ISDIR(info.st_mode) else 0o600
        os.fchmod(handle, mode)
    finally:
        os.close(handle)
    return f"mode is {mode:04o} now"


def _remove_socket(context: Context, path: Path) -> str:
    if not stat.S_ISSOCK(path.lstat().st_mode) or context.system.answers(path):
        return ""
    path.unlink()
    return "removed"


_REPAIRS: Final[Mapping[str, Callable[[Context, Path], str]]] = {
    "FOG-DOC-010": _take_rights,
    "FOG-DOC-021": _take_rights,
    "FOG-DOC-053": _take_rights,
    "FOG-DOC-070": _remove_socket,
}
