"""A peer-to-peer stack on trio and py-libp2p.

`open_peer` runs a whole peer, `fogp2p.host` holds the interfaces it is built from. Names are
loaded when they are first used: importing this package alone costs next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import Config as Config
    from .environment import within as within
    from .host import Host as Host
    from .host import Stream as Stream
    from .ids import PeerId as PeerId
    from .node import Node as Node
    from .node import open_peer as open_peer

__version__ = "0.1.0"

__all__ = ["Config", "Host", "Node", "PeerId", "Stream", "__version__", "open_peer", "within"]

_HOMES = {
    "Config": "fogp2p.config",
    "Host": "fogp2p.host",
    "Node": "fogp2p.node",
    "PeerId": "fogp2p.ids",
    "Stream": "fogp2p.host",
    "open_peer": "fogp2p.node",
    "within": "fogp2p.environment",
}


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fogp2p' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
