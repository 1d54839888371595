"""The libp2p ping protocol. Spec: libp2p/specs ping/ping.md."""

from .handler import PING, install, ping, remove

__all__ = ["PING", "install", "ping", "remove"]
