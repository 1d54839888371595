"""What a node speaks: protocols, their versions, features and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fogp2p.errors import LocalProtocolError
from fogp2p.ids import ProtocolId, Version, protocol_id

from .config import MAX_FEATURES, MAX_LIMITS, MAX_PROTOCOLS, MAX_RELEASES

__all__ = ["Catalogue", "Offer", "Release"]


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A version we speak; `ends_day` is the day (since 1970-01-01) its support ends, 0 for none."""

    version: Version
    ends_day: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """The releases of one protocol, ascending and unique, and the features we support."""

    releases: tuple[Release, ...]
    features: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        versions = [release.version for release in self.releases]
        if not 1 <= len(versions) <= MAX_RELEASES or versions != sorted(set(versions)):
            raise LocalProtocolError("1-16 different versions, ascending", code="version-offer")
        if len(self.features) > MAX_FEATURES:
            raise LocalProtocolError("at most 64 features", code="version-offer")

    @property
    def versions(self) -> frozenset[Version]:
        """The versions alone."""
        return frozenset(release.version for release in self.releases)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything a node offers.

    Protocol `fog/echo` in version 1.1 is served as the libp2p protocol `/fog/echo/1.1.0`.
    `handshake` are the versions of the version handshake itself. `limits` tell peers what we
    accept, by name.
    """

    software: str
    protocols: Mapping[str, Offer] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    handshake: tuple[Version, ...] = (Version(1, 0), Version(1, 1))
    notices: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        if len(self.protocols) > MAX_PROTOCOLS or len(self.limits) > MAX_LIMITS:
            raise LocalProtocolError("catalogue too large", code="version-offer")
        object.__setattr__(self, "protocols", MappingProxyType(dict(self.protocols)))
        object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))


def libp2p_name(protocol: str, version: Version) -> ProtocolId:
    """How a version of a protocol is called on the wire: `/<protocol>/<major>.<minor>.0`."""
    return protocol_id(f"/{protocol}/{version}.0")
