"""The commands' ways of changing config.toml: one setting, the whole text, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fogp2p.config import Setting, load_config
from fogp2p.config_edit import Edited, edit_config, finish_change, previous_of, replace_config
from fogp2p.environment import Disk
from fogp2p.errors import ConfigError
from fogp2p.limits import MIB

__all__ = ["MAX_FILE_BYTES", "replace_text", "rollback", "set_value", "unset"]

MAX_FILE_BYTES: Final = 1 * MIB


def set_value(path: Path, disk: Disk, name: str, text: str) -> Edited:
    """Write setting `name` ("section.key"); `text` is read as a flag's value is.

    Raises ConfigError for an unknown name, a wrong value, or a file that is wrong already; nothing
    is changed then. Raises DiskError.
    """
    read = load_config(None, disk=disk, environ={}, flags=[f"{name}={text}"])
    value: Setting | list[str] = dict(read.config.items())[name]
    if isinstance(value, tuple):
        value = list(value)
    return edit_config(path, {name: value}, disk=disk, environ={})


def unset(path: Path, disk: Disk, name: str) -> Edited:
    """Take setting `name` out of the file: its default holds again. Raises as `set_value`."""
    if name not in dict(load_config(None, disk=disk, environ={}).config.items()):
        load_config(None, disk=disk, environ={}, flags=[f"{name}="])  # names the nearest
    return edit_config(path, {}, (name,), disk=disk, environ={})


def rollback(path: Path, disk: Disk) -> Edited:
    """Change places with the file as it was before; a second time takes that back.

    Raises ConfigError when there is none or it is wrong, and DiskError.
    """
    finish_change(path, disk)
    backup = previous_of(path)
    before = disk.read(backup, max_bytes=MAX_FILE_BYTES)
    if before is None:
        raise ConfigError(
            f"there is no {backup} to go back to",
            hint="the first change of a file makes it: fogp2p config set KEY VALUE",
        )
    return replace_text(path, disk, before)


def replace_text(path: Path, disk: Disk, data: bytes) -> Edited:
    """Make `data` the whole file, if it is good. Raises ConfigError and DiskError."""
    loaded = load_config(path, disk=_Draft(data), environ={})
    finish_change(path, disk)
    before = disk.read(path, max_bytes=MAX_FILE_BYTES)
    if before == data:
        return Edited(loaded, None)
    return Edited(loaded, replace_config(path, before, data, disk))


class _Draft:
    """A file that is not written yet, for the checks of `load_config`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        return self._data
