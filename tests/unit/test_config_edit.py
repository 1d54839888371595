"""Changing config.toml: comments stay, mistakes leave it alone, the old content is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fogp2p.config import parse_loopback
from fogp2p.config_edit import edit_config
from fogp2p.environment import DiskError
from fogp2p.errors import ConfigError
from fogp2p.testing import MemoryDisk

FILE = Path("/home/ada/config.toml")
BACKUP = Path("/home/ada/config.toml.bak")
TEXT = b"""# my peer
[network]  # where
listen = ["/ip4/0.0.0.0/tcp/7460"]
target_peers = 3 # few

[log]
level = "info"
"""


def _disk(text: bytes | None = TEXT) -> MemoryDisk:
    disk = MemoryDisk()
    if text is not None:
        disk.replace(FILE, text)
    return disk


def _read(disk: MemoryDisk, path: Path = FILE) -> bytes | None:
    return disk.read(path, max_bytes=10_000)


def test_comments_and_order_stay() -> None:
    disk = _disk()
    edited = edit_config(
        FILE, {"network.target_peers": 5, "api.tcp": "127.0.0.1:7461"}, disk=disk, environ={}
    )
    assert edited.loaded.config.network.target_peers == 5
    assert edited.previous == BACKUP and _read(disk, BACKUP) == TEXT
    expected = TEXT.replace(b"target_peers = 3 #", b"target_peers = 5 #")
    assert _read(disk) == expected + b'\n[api]\ntcp = "127.0.0.1:7461"\n'


def test_unset_returns_to_the_default() -> None:
    disk = _disk()
    edited = edit_config(FILE, {}, ["network.target_peers", "api.tcp"], disk=disk, environ={})
    assert edited.loaded.config.network.target_peers == 8
    assert b"target_peers" not in (_read(disk) or b"")


def test_a_file_that_is_not_there_is_made() -> None:
    disk = _disk(None)
    edited = edit_config(FILE, {"discovery.mdns": False}, disk=disk, environ={})
    assert edited.previous is None and _read(disk, BACKUP) is None
    assert _read(disk) == b"[discovery]\nmdns = false\n"


def test_the_same_values_write_nothing() -> None:
    disk = _disk()
    assert edit_config(FILE, {}, ["api.tcp"], disk=disk, environ={}).previous is None
    assert _read(disk, BACKUP) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"log.level": "loud"}, "not one of debug, info, warning, error"),
        ({"log.levle": "info"}, "the nearest is log.level"),
        ({"lgo.level": "info"}, r"the nearest is \[log\]"),
        ({"network.target_peers": "5"}, "must be a whole number"),
        ({"network.target_peers": None}, "has no form in TOML"),
        ({"network.target_peers": -1}, "outside 0-160"),
        ({"api.tcp": "0.0.0.0:7461"}, "never listens where others can reach it"),
        ({"log": "x"}, "is not section.key"),
        ({"a.b.c": "x"}, "is not section.key"),
        ({"log.level": {"x": 1}}, "must be a text"),
        ({"discovery.bootstrap": ["x" * 2_000_000]}, "more than|not a peer"),
    ],
)
def test_a_mistake_leaves_the_file_alone(changes: dict[str, Any], said: str) -> None:
    disk = _disk()
    with pytest.raises(ConfigError, match=said):
        edit_config(FILE, {"log.level": "debug", **changes}, disk=disk, environ={})
    assert _read(disk) == TEXT and _read(disk, BACKUP) is None


@pytest.mark.parametrize("text", [b"[log", b"\xff", b"log = 1\n", b"[[log]]\nlevel = 'x'\n"])
def test_a_file_that_is_broken_already_is_not_touched(text: bytes) -> None:
    disk = _disk(text)
    with pytest.raises(ConfigError):
        edit_config(FILE, {"log.level": "debug"}, disk=disk, environ={})
    assert _read(disk) == text


def test_a_variable_wins_and_shows_as_origin() -> None:
    environ = {"FOGP2P_LOG__LEVEL": "error"}
    edited = edit_config(FILE, {"log.level": "debug"}, disk=_disk(), environ=environ)
    assert edited.loaded.origins["log.level"] == "variable FOGP2P_LOG__LEVEL"


def test_a_full_disk_keeps_the_file() -> None:
    class Full(MemoryDisk):
        def replace(self, path: Path, data: bytes, *, mode: int = 0o600) -> None:
            if path == FILE and data != TEXT:
                raise DiskError("full")
            super().replace(path, data, mode=mode)

    disk = Full()
    disk.replace(FILE, TEXT)
    with pytest.raises(DiskError):
        edit_config(FILE, {"log.level": "debug"}, disk=disk, environ={})
    assert _read(disk) == TEXT


def test_loopback_addresses() -> None:
    assert parse_loopback("") == ()
    assert parse_loopback("127.0.0.1:7461, [::1]:0") == (("127.0.0.1", 7461), ("::1", 0))
