"""The command line. Commands are loaded when they are used: `fogp2p status` must be quick."""

from .main import main

__all__ = ["main"]
