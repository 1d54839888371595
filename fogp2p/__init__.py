"""A peer-to-peer stack on trio and py-libp2p.

`fogp2p.host` holds the interfaces, `fogp2p.node` puts a whole peer together. Importing this
package imports nothing else; pick what you need.
"""

__version__ = "0.1.0"
