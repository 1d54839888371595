"""Finding peers on the LAN by multicast DNS, as libp2p's mDNS specification has it.

What is found are hints: anybody on the LAN can say anything, and only a handshake proves who is
there. Spec: libp2p/specs discovery/mdns.md, RFC 6762.
"""

from .config import MdnsConfig
from .service import open_mdns

__all__ = ["MdnsConfig", "open_mdns"]
