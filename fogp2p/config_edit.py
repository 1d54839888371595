"""Changes config.toml as its owner would: comments and order stay, mistakes are refused first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from . import limits
from .config import Loaded, load_config
from .errors import ConfigError

__all__ = ["Edited", "edit_config"]

_MAX_FILE_BYTES: Final = 1 * limits.MIB


class _Files(Protocol):
    def read(self, path: Path, *, max_bytes: int) -> bytes | None: ...

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600) -> None: ...


@dataclass(frozen=True, slots=True)
class Edited:
    """What the file says now, and where its content before is kept (None: there was none)."""

    loaded: Loaded
    previous: Path | None


def edit_config(
    file: Path,
    changes: Mapping[str, Any],
    unset: Sequence[str] = (),
    *,
    disk: _Files,
    environ: Mapping[str, str],
    flags: Sequence[str] = (),
) -> Edited:
    """Write `changes` ("section.key" to its value) and remove `unset` in `file`.

    The new text is checked as a whole before the file is replaced in one step; what was there is
    kept as `<file>.bak`. Raises ConfigError, the file unchanged then, and DiskError.
    """
    before = disk.read(file, max_bytes=_MAX_FILE_BYTES)
    try:
        document = tomlkit.parse((before or b"").decode("utf-8"))
    except (TOMLKitError, UnicodeDecodeError) as exc:
        raise ConfigError(f"file {file}: not TOML: {exc}", hint="mend it by hand first") from exc
    for name in unset:
        _unset(document, name)
    for name, value in changes.items():
        _set(document, name, value)
    after = tomlkit.dumps(document).encode("utf-8")
    loaded = load_config(file, disk=_With(file, after), environ=environ, flags=flags)
    if after == (before or b""):
        return Edited(loaded, None)
    previous = None
    if before is not None:
        previous = file.with_name(f"{file.name}.bak")
        disk.replace(previous, before)
    disk.replace(file, after)
    return Edited(loaded, previous)


class _With:
    """A disk on which the file is changed already."""

    def __init__(self, file: Path, data: bytes) -> None:
        self._file = file
        self._data = data

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        assert path == self._file
        if len(self._data) > max_bytes:
            raise ConfigError(f"the file would have more than {max_bytes} bytes")
        return self._data


def _split(name: str) -> tuple[str, str]:
    section, dot, key = name.partition(".")
    if not (section and dot and key) or "." in key:
        raise ConfigError(f"{name[:80]!r} is not section.key", hint="`fogp2p config show`")
    return section, key


def _set(document: tomlkit.TOMLDocument, name: str, value: Any) -> None:
    section, key = _split(name)
    if section not in document:
        document[section] = tomlkit.table()
    table = document[section]
    if not isinstance(table, Table):
        raise ConfigError(f"{section} is no section in the file", hint="mend it by hand first")
    try:
        table[key] = value
    except (TOMLKitError, ValueError, TypeError) as exc:
        raise ConfigError(f"{name}: {value!r:.80} has no form in TOML") from exc


def _unset(document: tomlkit.TOMLDocument, name: str) -> None:
    section, key = _split(name)
    table = document.get(section)
    if isinstance(table, Table) and key in table:
        del table[key]
