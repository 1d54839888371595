"""The configuration of a peer: four layers, one table of keys, every value with its origin.

Defaults, then the TOML file, then variables `FOGP2P_<SECTION>__<KEY>`, then flags
(`--set section.key=value`). An unknown key or a wrong value is an error that names its place.
Reference for people: docs/reference/config.md.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, get_type_hints

from . import limits
from .addresses import parse_address, peer_of
from .errors import ConfigError, RemoteProtocolError
from .ids import Version

__all__ = [
    "ApiConfig",
    "Config",
    "BlobsConfig",
    "DiscoveryConfig",
    "Loaded",
    "LogConfig",
    "NetworkConfig",
    "PeerConfig",
    "ProtocolsConfig",
    "Setting",
    "describe_keys",
    "load_config",
    "parse_loopback",
    "parse_versions",
]

Setting = bool | int | float | str | tuple[str, ...]

_ENV_PREFIX: Final = "FOGP2P_"
# Names with this prefix that are not settings of a section.
_ENV_OTHERS: Final = frozenset({"FOGP2P_HOME", "FOGP2P_PASSPHRASE", "FOGP2P_BACKUP_PASSPHRASE"})
# A hand-written file has a few kilobytes; a thousand times the usual is a mistake.
_MAX_FILE_BYTES: Final = 1 * limits.MIB
_VERSIONS: Final = re.compile(r"(\d{1,5})\.(\d{1,5})(?:-(\d{1,5})\.(\d{1,5}))?")
_TCP: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})")
_SERVICE: Final = re.compile(r"_[a-z0-9-]{1,62}\._udp\.local\.?")


class _Reader(Protocol):
    def read(self, path: Path, *, max_bytes: int) -> bytes | None: ...


def _check_address(text: str) -> str:
    try:
        parse_address(text)
    except RemoteProtocolError:
        return "not an address such as /ip4/0.0.0.0/tcp/7460"
    return ""


def _check_peer_address(text: str) -> str:
    try:
        named = peer_of(parse_address(text)) is not None
    except RemoteProtocolError:
        named = False
    return "" if named else "not a peer's address such as /ip4/192.168.1.7/tcp/7460/p2p/12D3KooW..."


def _check_versions(text: str) -> str:
    return "" if _versions(text) is not None else 'not versions such as "1.0" or "1.0-1.1"'


def _check_service(text: str) -> str:
    return "" if _SERVICE.fullmatch(text) else 'not a service name such as "_p2p._udp.local"'


def _check_loopback(text: str) -> str:
    try:
        parse_loopback(text)
    except ConfigError as exc:
        return str(exc)
    return ""


def _check_name(text: str) -> str:
    fits = len(text) <= 64 and text.isprintable()  # as on a contact card
    return "" if fits else "not a name of at most 64 printable characters"


def _check_dht(text: str) -> str:
    return "" if text in ("server", "client", "off") else "not server, client or off"


def _check_level(text: str) -> str:
    levels = ("debug", "info", "warning", "error")
    return "" if text in levels else f"not one of {', '.join(levels)}"


def _key(default: Any, about: str, **rules: Any) -> Any:
    """One setting. Rules: `low` and `high` (inclusive), `check` (text -> complaint or "")."""
    return field(default=default, metadata={"about": about, **rules})


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """[peer]: how others see us."""

    name: str = _key(
        "",
        "what this peer calls itself in invites; empty for two words from its id",
        check=_check_name,
    )


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """[network]: where we listen and how many peers we want."""

    listen: tuple[str, ...] = _key(
        ("/ip4/0.0.0.0/tcp/7460",),
        "addresses to listen on; tcp/0 takes any free port",
        check=_check_address,
        most=16,  # more than a machine has networks
    )
    target_peers: int = _key(
        # Eight neighbours keep a gossip mesh connected (its degree is 6) and cost under 1 MB.
        8,
        "connect to peers that are found until there are so many",
        low=0,
        high=limits.OUTBOUND_CONNECTIONS,
    )
    max_inbound: int = _key(
        limits.INBOUND_CONNECTIONS,
        "connections from others that are accepted at the same time",
        low=1,
        high=4096,  # each may hold a megabyte of buffers
    )


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """[discovery]: how peers are found."""

    mdns: bool = _key(True, "look for peers on the local network (multicast DNS)")
    mdns_service: str = _key(
        "_p2p._udp.local", "service name; peers with another one are not seen", check=_check_service
    )
    mdns_port: int = _key(
        5353, "UDP port; only separate test networks change it", low=1, high=65535
    )
    mdns_interfaces: tuple[str, ...] = _key(
        (), 'network interfaces to use, such as "eth0"; empty for all but loopback', most=32
    )
    bootstrap: tuple[str, ...] = _key(
        (), "peers to connect to at the start", check=_check_peer_address, most=64
    )
    known_peers: bool = _key(True, "remember peers met before and connect to them again")
    dht: str = _key(
        "server",
        "take part in the DHT: server (answer and ask), client (only ask), off",
        check=_check_dht,
    )


@dataclass(frozen=True, slots=True)
class ProtocolsConfig:
    """[protocols]: which versions we offer to others, as "lowest-highest"."""

    echo: str = _key("1.0-1.1", "versions of /fog/echo", check=_check_versions)


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """[api]: doors of the local API beside the unix socket, which is always there."""

    tcp: str = _key(
        "",
        'loopback address for browsers, such as "127.0.0.1:7461" (a token is needed then); '
        "a second one after a comma; empty: off",
        check=_check_loopback,
    )


@dataclass(frozen=True, slots=True)
class BlobsConfig:
    """[blobs]: files by their content."""

    quota_mib: int = _key(
        4096,  # a film, and little of today's disks
        "mebibytes that blobs may take; what is not pinned makes room",
        low=1,
        high=8 * 1024 * 1024,
    )
    accept_files: bool = _key(True, "fetch files that peers send, within the quota")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """[log]: what is written to standard error, or to the log file in the background."""

    level: str = _key("info", "debug, info, warning or error", check=_check_level)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. `Config()` is all defaults."""

    peer: PeerConfig = field(default_factory=PeerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    protocols: ProtocolsConfig = field(default_factory=ProtocolsConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    blobs: BlobsConfig = field(default_factory=BlobsConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def items(self) -> Iterator[tuple[str, Setting]]:
        """Every setting as ("section.key", value), in the order of the reference."""
        for name in _KEYS:
            section, _, key = name.partition(".")
            yield name, getattr(getattr(self, section), key)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where each of its values came from ("default", file, variable, flag)."""

    config: Config
    origins: Mapping[str, str]


def parse_versions(text: str) -> tuple[Version, Version]:
    """Read "1.0" or "1.0-1.1" as (lowest, highest). Raises ConfigError."""
    found = _versions(text)
    if found is None:
        raise ConfigError(f"{text!r} is {_check_versions(text)}")
    return found


def parse_loopback(text: str) -> tuple[tuple[str, int], ...]:
    """Read "127.0.0.1:7461" or "127.0.0.1:7461,[::1]:7461"; () for an empty text.

    Raises ConfigError for anything that others on the network could reach.
    """
    found = []
    for part in text.split(",") if text else ():
        match = _TCP.fullmatch(part.strip())
        if match is None or int(match[3]) > 65535:
            raise ConfigError('not an address such as "127.0.0.1:7461" or "[::1]:7461"')
        host = match[1] or match[2]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ConfigError('not an address such as "127.0.0.1:7461" or "[::1]:7461"') from None
        if not address.is_loopback:
            raise ConfigError(
                "not a loopback address: the API has no TLS and may do everything with this peer, "
                "so it never listens where others can reach it; for another machine use `ssh -L`"
            )
        found.append((str(address), int(match[3])))
    return tuple(found)


def describe_keys() -> Iterator[tuple[str, str, str, Setting]]:
    """Every setting as (name, kind, what it does, default)."""
    defaults = dict(Config().items())
    for name, (spec, kind) in _KEYS.items():
        yield name, _KIND_NAMES[kind], spec.metadata["about"], defaults[name]


def load_config(
    file: Path | None,
    *,
    disk: _Reader,
    environ: Mapping[str, str],
    flags: Sequence[str] = (),
) -> Loaded:
    """Read all layers. A missing `file` counts as empty; `flags` are "section.key=value".

    Raises ConfigError with every problem found, and DiskError when the file cannot be read.
    """
    layers = _Layers()
    if file is not None:
        _read_file(layers, file, disk)
    _read_variables(layers, environ)
    for flag in flags:
        name, equals, text = flag.partition("=")
        place = f"flag --set {name}"
        if not equals:
            layers.complain(place, "needs the form section.key=value")
        elif layers.known(place, name):
            layers.put_text(place, name, text)
    return layers.finish()


class _Layers:
    def __init__(self) -> None:
        self._values: dict[str, Setting] = {}
        self._origins = dict.fromkeys(_KEYS, "default")
        self._problems: list[str] = []

    def complain(self, place: str, problem: str) -> None:
        self._problems.append(f"{place}: {problem}")

    def known(self, place: str, name: str) -> bool:
        if name in _KEYS:
            return True
        near = difflib.get_close_matches(name, _KEYS, n=1, cutoff=0.5)
        tail = f"; the nearest is {near[0]}" if near else f"; known are {', '.join(_KEYS)}"
        self.complain(place, f"unknown key {name}{tail}")
        return False

    def put(self, place: str, name: str, value: object) -> None:
        """Take a value that has a type (from TOML)."""
        spec, kind = _KEYS[name]
        if kind == tuple[str, ...]:
            if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
                self.complain(place, f"{name} must be a list of texts")
                return
            value = tuple(value)
        elif kind is float and type(value) is int:
            value = float(value)
        elif type(value) is not kind:
            self.complain(place, f"{name} must be {_KIND_NAMES[kind]}, not {_show(value)}")
            return
        complaint = _judge(value, spec.metadata)
        if complaint:
            self.complain(place, f"{name}: {complaint}")
            return
        self._values[name] = value  # type: ignore[assignment]
        self._origins[name] = place

    def put_text(self, place: str, name: str, text: str) -> None:
        """Take a value from a variable or flag: plain text, or for a list TOML or commas."""
        kind = _KEYS[name][1]
        if kind is str:
            self.put(place, name, text)
        elif kind == tuple[str, ...] and not text.lstrip().startswith("["):
            self.put(place, name, [part.strip() for part in text.split(",") if part.strip()])
        else:
            try:
                self.put(place, name, tomllib.loads(f"value = {text}")["value"])
            except tomllib.TOMLDecodeError:
                self.complain(place, f"{name} must be {_KIND_NAMES[kind]}, not {_show(text)}")

    def finish(self) -> Loaded:
        if self._problems:
            raise ConfigError(
                "\n  ".join(self._problems)
                if len(self._problems) == 1
                else "\n  ".join([f"{len(self._problems)} problems", *self._problems]),
                hint="`fogp2p config show --origin` lists all keys and their defaults",
            )
        sections: dict[str, Any] = {}
        for section in dataclasses.fields(Config):
            prefix = f"{section.name}."
            given = {
                name.removeprefix(prefix): value
                for name, value in self._values.items()
                if name.startswith(prefix)
            }
            sections[section.name] = dataclasses.replace(getattr(Config(), section.name), **given)
        return Loaded(Config(**sections), self._origins)


def _read_file(layers: _Layers, file: Path, disk: _Reader) -> None:
    data = disk.read(file, max_bytes=_MAX_FILE_BYTES)
    if data is None:
        return
    place = f"file {file}"
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        layers.complain(place, f"not TOML: {exc}")
        return
    sections = [section.name for section in dataclasses.fields(Config)]
    for section, table in tables.items():
        if not isinstance(table, dict):
            layers.complain(place, f"{section} stands in no section; sections are {sections}")
            continue
        if section not in sections:
            near = difflib.get_close_matches(section, sections, n=1, cutoff=0.5)
            tail = f"the nearest is [{near[0]}]" if near else f"known are {', '.join(sections)}"
            layers.complain(place, f"unknown section [{section}]; {tail}")
            continue
        for key, value in table.items():
            if layers.known(place, f"{section}.{key}"):
                layers.put(place, f"{section}.{key}", value)


def _read_variables(layers: _Layers, environ: Mapping[str, str]) -> None:
    for variable in sorted(environ):
        if not variable.startswith(_ENV_PREFIX) or variable in _ENV_OTHERS:
            continue
        place = f"variable {variable}"
        name = variable.removeprefix(_ENV_PREFIX).lower().replace("__", ".", 1)
        if layers.known(place, name):
            layers.put_text(place, name, environ[variable])


def _judge(value: Any, rules: Mapping[str, Any]) -> str:
    low, high = rules.get("low"), rules.get("high")
    if (low is not None and value < low) or (high is not None and value > high):
        return f"{value} is outside {low}-{high}"
    if isinstance(value, tuple) and len(value) > rules["most"]:
        return f"{len(value)} entries; at most {rules['most']}"
    check = rules.get("check")
    if check is None:
        return ""
    for item in value if isinstance(value, tuple) else (value,):
        complaint: str = check(item)
        if complaint:
            return f"{_show(item)} is {complaint}"
    return ""


def _versions(text: str) -> tuple[Version, Version] | None:
    found = _VERSIONS.fullmatch(text)
    if found is None:
        return None
    numbers = [int(part) for part in found.groups() if part is not None]
    if max(numbers) > 0xFFFF:
        return None
    low, high = Version(*numbers[:2]), Version(*numbers[-2:])
    return (low, high) if low.major == high.major and low <= high else None


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # one line of a terminal


_KIND_NAMES: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple[str, ...]: "a list of texts",
}


def _table_of_keys() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    table: dict[str, tuple[dataclasses.Field[Any], Any]] = {}
    for section in dataclasses.fields(Config):
        kind = get_type_hints(Config)[section.name]
        hints = get_type_hints(kind)
        for spec in dataclasses.fields(kind):
            table[f"{section.name}.{spec.name}"] = (spec, hints[spec.name])
    return table


_KEYS: Final = _table_of_keys()
