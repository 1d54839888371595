"""The log of a peer: one line for each event, on standard error.

Nothing in this library puts keys, messages or whole peer ids into a log record; peers appear by the
last six characters of their id. Control characters are shown, never obeyed, so that a peer cannot
forge a line or move the cursor.
"""

from __future__ import annotations

import logging
import time
from typing import Final

__all__ = ["LineFormatter", "start_logging"]

# A reason may quote a peer; a line stays a line.
_MAX_CHARS: Final = 2_000
_OURS: Final = "fogp2p"


class LineFormatter(logging.Formatter):
    """`2026-11-24T10:39:13Z info  node  connected peer=3kPz6Q direction=inbound`"""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it when there is one."""
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ")
        where = record.name.removeprefix(f"{_OURS}.")
        message = _plain(record.getMessage())[:_MAX_CHARS]
        line = f"{stamp} {record.levelname.lower():<7} {where}  {message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def start_logging(level: str) -> None:
    """Log our own records from `level` up, and warnings of libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_OURS).setLevel(level.upper())


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
