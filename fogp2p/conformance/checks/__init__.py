"""The checks themselves, by layer. Importing this enters all of them into the table."""

from . import (
    blob,
    codec,
    connection,
    echo,
    gossip,
    invite,
    kad,
    log,
    multiplexing,
    registry,
    services,
    versioning,
)

__all__ = [
    "blob",
    "codec",
    "connection",
    "echo",
    "gossip",
    "invite",
    "kad",
    "log",
    "multiplexing",
    "registry",
    "services",
    "versioning",
]
