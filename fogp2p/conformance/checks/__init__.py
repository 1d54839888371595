"""The checks themselves, by layer. Importing this enters all of them into the table."""

from . import codec, connection, echo, gossip, kad, multiplexing, services, versioning

__all__ = [
    "codec",
    "connection",
    "echo",
    "gossip",
    "kad",
    "multiplexing",
    "services",
    "versioning",
]
