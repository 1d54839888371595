"""The layers of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from fogp2p.config import Config, Loaded, describe_keys, load_config, parse_versions
from fogp2p.errors import ConfigError
from fogp2p.ids import Version
from fogp2p.testing import MemoryDisk

FILE = Path("/home/ada/config.toml")


def _load(text: str = "", *flags: str, **variables: str) -> Loaded:
    disk = MemoryDisk()
    if text:
        disk.replace(FILE, text.encode("utf-8"))
    return load_config(FILE, disk=disk, environ=variables, flags=flags)


def test_without_anything_all_is_default() -> None:
    loaded = _load()
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}


def test_flag_beats_variable_beats_file_beats_default() -> None:
    text = "[network]\ntarget_peers = 1\nmax_inbound = 2\n[log]\nlevel = 'debug'\n"
    loaded = _load(
        text,
        "network.target_peers=3",
        FOGP2P_NETWORK__TARGET_PEERS="4",
        FOGP2P_NETWORK__MAX_INBOUND="5",
    )
    network = loaded.config.network
    assert (network.target_peers, network.max_inbound, loaded.config.log.level) == (3, 5, "debug")
    assert loaded.origins["network.target_peers"] == "flag --set network.target_peers"
    assert loaded.origins["network.max_inbound"] == "variable FOGP2P_NETWORK__MAX_INBOUND"
    assert loaded.origins["log.level"] == f"file {FILE}"
    assert loaded.origins["discovery.mdns"] == "default"


@pytest.mark.parametrize(
    ("text", "flags", "variables", "said"),
    [
        ("[network]\ntarget_pers = 1", (), {}, "the nearest is network.target_peers"),
        ("[netwrk]\ntarget_peers = 1", (), {}, r"the nearest is \[network\]"),
        ("target_peers = 1", (), {}, "stands in no section"),
        ("[network", (), {}, "not TOML"),
        ("[network]\ntarget_peers = 'x'", (), {}, "must be a whole number, not 'x'"),
        ("[network]\ntarget_peers = true", (), {}, "must be a whole number, not True"),
        ("[network]\ntarget_peers = -1", (), {}, "-1 is outside 0-160"),
        ("[network]\nlisten = ['tcp:1']", (), {}, "not an address such as"),
        ("", ("network.listen",), {}, "needs the form section.key=value"),
        ("", ("log.level=loud",), {}, "not one of debug, info, warning, error"),
        ("", (), {"FOGP2P_LOG__LEVLE": "info"}, "the nearest is log.level"),
        ("", ("protocols.echo=2.0-1.0",), {}, "not versions such as"),
        ("", ("discovery.bootstrap=/ip4/1.2.3.4/tcp/1",), {}, "not a peer's address"),
        ("", ("discovery.mdns_service=x",), {}, "not a service name"),
    ],
)
def test_mistakes_are_named_with_their_place(
    text: str, flags: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        _load(text, *flags, **variables)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match="2 problems"):
        _load("[network]\nx = 1\ny = 2\n")


def test_lists_are_given_by_commas_or_toml() -> None:
    for text in ("eth0, wlan0", "['eth0', 'wlan0']"):
        loaded = _load("", f"discovery.mdns_interfaces={text}")
        assert loaded.config.discovery.mdns_interfaces == ("eth0", "wlan0")


def test_every_key_is_described_with_its_default() -> None:
    described = {name: default for name, _, about, default in describe_keys() if about}
    assert described == dict(Config().items())


def test_versions() -> None:
    assert parse_versions("1.0-1.1") == (Version(1, 0), Version(1, 1))
    assert parse_versions("1.0") == (Version(1, 0), Version(1, 0))
    for wrong in ("", "1", "1.0-2.0", "1.1-1.0", "99999.0", "a.b"):
        with pytest.raises(ConfigError):
            parse_versions(wrong)


def test_variables_that_are_no_settings_are_left_alone() -> None:
    words = {"FOGP2P_HOME": "/x", "FOGP2P_PASSPHRASE": "x", "FOGP2P_BACKUP_PASSPHRASE": "x"}
    assert _load(**words).config == Config()
