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
from .killpoints import killpoint

__all__ = ["Edited", "edit_config", "finish_change", "previous_of", "replace_config"]

_MAX_FILE_BYTES: Final = 1 * limits.MIB


class _Files(Protocol):
    def read(self, path: Path, *, max_bytes: int) -> bytes | None: ...

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600) -> None: ...

    def remove(self, path: Path) -> None: ...


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
    finish_change(file, disk)
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
    return Edited(loaded, replace_config(file, before, after, disk))


def previous_of(file: Path) -> Path:
    """Where the content before the last change is kept."""
    return file.with_name(f"{file.name}.bak")


def replace_config(file: Path, before: bytes | None, after: bytes, disk: _Files) -> Path | None:
    """Make `after` the file and keep `before`, what it says now; return where.

    Nothing that could be rolled back to is lost by a crash: `finish_change` does the rest. Raises
    DiskError.
    """
    if before is None:
        disk.replace(file, after)
        return None
    # Not as the previous content at once: that one may be what `after` was read from.
    disk.replace(_passing(file), before)
    killpoint("config.kept")
    disk.replace(file, after)
    killpoint("config.replaced")
    _turn(file, before, disk)
    return previous_of(file)


def finish_change(file: Path, disk: _Files) -> None:
    """Do what a crash left to do of the last change. Raises DiskError."""
    before = disk.read(_passing(file), max_bytes=_MAX_FILE_BYTES)
    if before is None:
        return
    if disk.read(file, max_bytes=_MAX_FILE_BYTES) == before:
        disk.remove(_passing(file))  # the file was not reached
    else:
        _turn(file, before, disk)


def _turn(file: Path, before: bytes, disk: _Files) -> None:
    disk.replace(previous_of(file), before)
    killpoint("config.turned")
    disk.remove(_passing(file))
    killpoint("config.done")


def _passing(file: Path) -> Path:
    return file.with_name(f"{file.name}.before")


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
