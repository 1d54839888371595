"""Changes to the configuration file that keep its comments and its order.

A change is checked before it is written: a file that was good stays good. The file as it was before
is kept beside it (`config.toml.bak`), and `rollback` changes places with it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from .config import Loaded, Setting, load_config
from .environment import Disk
from .errors import ConfigError
from .limits import MIB

__all__ = ["Changed", "backup_of", "replace_text", "rollback", "set_value", "unset"]

_MAX_FILE_BYTES: Final = 1 * MIB


@dataclass(frozen=True, slots=True)
class Changed:
    """`loaded` is what the file says now; `backup` is None when there was no file before."""

    loaded: Loaded
    is_new: bool
    backup: Path | None


def backup_of(path: Path) -> Path:
    """Where the file as it was before is kept."""
    return path.with_name(f"{path.name}.bak")


def set_value(path: Path, disk: Disk, name: str, text: str) -> Changed:
    """Write setting `name` ("section.key"); `text` is read as a flag's value is.

    Raises ConfigError for an unknown name, a wrong value, or a file that is wrong already; nothing
    is changed then. Raises DiskError.
    """
    wanted = load_config(None, disk=disk, environ={}, flags=[f"{name}={text}"]).config
    value = dict(wanted.items())[name]
    old = _read(path, disk)
    document = _parse(path, old)
    section, _, key = name.partition(".")
    document.setdefault(section, tomlkit.table())[key] = _plain(value)
    return replace_text(path, disk, tomlkit.dumps(document))


def unset(path: Path, disk: Disk, name: str) -> Changed:
    """Take setting `name` out of the file: its default holds again. Raises as `set_value`."""
    load_config(None, disk=disk, environ={}, flags=[f"{name}={_default(name)}"])
    document = _parse(path, _read(path, disk))
    section, _, key = name.partition(".")
    table: MutableMapping[str, Any] = document.get(section, {})
    if key not in table:
        return Changed(_check(path, tomlkit.dumps(document)), False, None)
    del table[key]
    if not table and not tomlkit.dumps(table).strip():
        del document[section]
    return replace_text(path, disk, tomlkit.dumps(document))


def rollback(path: Path, disk: Disk) -> Changed:
    """Change places with the file as it was before; a second time takes that back.

    Raises ConfigError when there is none or it is wrong, and DiskError.
    """
    before = disk.read(backup_of(path), max_bytes=_MAX_FILE_BYTES)
    if before is None:
        raise ConfigError(
            f"there is no {backup_of(path)} to go back to",
            hint="it is made by the first `fogp2p config set`",
        )
    return replace_text(path, disk, _decode(backup_of(path), before))


def replace_text(path: Path, disk: Disk, text: str) -> Changed:
    """Make `text` the whole file, if it is good. Raises ConfigError and DiskError."""
    loaded = _check(path, text)
    old = disk.read(path, max_bytes=_MAX_FILE_BYTES)
    new = text.encode("utf-8")
    if old == new:
        return Changed(loaded, False, None)
    if old is not None:
        disk.replace(backup_of(path), old)
    disk.replace(path, new)
    return Changed(loaded, True, backup_of(path) if old is not None else None)


class _Text:
    """A file that is not written yet, for the checks of `load_config`."""

    def __init__(self, text: str) -> None:
        self._data = text.encode("utf-8")

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        return self._data


def _check(path: Path, text: str) -> Loaded:
    return load_config(path, disk=_Text(text), environ={})


def _default(name: str) -> str:
    # A name that does not exist gets a value that is never looked at.
    defaults = dict(load_config(None, disk=_Text(""), environ={}).config.items())
    value = defaults.get(name, "")
    return str(_plain(value)).lower() if isinstance(value, bool) else str(_plain(value))


def _read(path: Path, disk: Disk) -> str:
    data = disk.read(path, max_bytes=_MAX_FILE_BYTES)
    return "" if data is None else _decode(path, data)


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"file {path}: not TOML: {exc}", hint="fogp2p config edit") from exc


def _parse(path: Path, text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as exc:
        raise ConfigError(f"file {path}: not TOML: {exc}", hint="fogp2p config edit") from exc


def _plain(value: Setting) -> Any:
    return list(value) if isinstance(value, tuple) else value
