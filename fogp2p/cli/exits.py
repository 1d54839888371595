"""From an error to words and to an exit code; docs/reference/exit-codes.md has them: frozen."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from fogp2p.client import NotRunning, PeerSaid, UntrustedFile
from fogp2p.errors import (
    ConfigError,
    DeadlineExceeded,
    FogError,
    KeystoreError,
    LimitExceeded,
    LocalProtocolError,
    TransportError,
    Unreachable,
)

__all__ = [
    "BROKEN",
    "FAILED",
    "INTERRUPTED",
    "JOB_FAILED",
    "NOT_FOUND",
    "NOT_PERMITTED",
    "NOT_RUNNING",
    "NotFound",
    "OK",
    "PARTLY",
    "REFUSED",
    "TERMINATED",
    "UNREACHABLE",
    "WRONG_USE",
    "Refused",
    "WrongUse",
    "exit_code",
    "report",
]

OK: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
NOT_RUNNING: Final = 3
NOT_FOUND: Final = 4
UNREACHABLE: Final = 5
NOT_PERMITTED: Final = 6
REFUSED: Final = 7
PARTLY: Final = 8
BROKEN: Final = 9
JOB_FAILED: Final = 10
INTERRUPTED: Final = 130
TERMINATED: Final = 143


class NotFound(FogError):
    """What was named does not exist: a page, a schema, a service, a key."""

    number = "FOG-CLI-003"


class WrongUse(FogError):
    """A command was typed in a way it does not understand."""

    number = "FOG-CLI-004"


class Refused(FogError):
    """The command would do harm and nobody confirmed it."""

    number = "FOG-CLI-005"


# What the peer said, by its HTTP status.
_BY_STATUS: Final = {
    400: WRONG_USE,
    401: NOT_PERMITTED,
    403: NOT_PERMITTED,
    404: NOT_FOUND,
    409: REFUSED,
    413: WRONG_USE,
    422: WRONG_USE,
    429: REFUSED,
    502: UNREACHABLE,
    503: REFUSED,
    504: UNREACHABLE,
}
# By number: classes of command modules need not be imported for it.
_BY_NUMBER: Final = {
    "FOG-CLI-001": NOT_FOUND,  # no such peer
    "FOG-CLI-002": NOT_FOUND,  # no keys yet
    "FOG-BAK-002": BROKEN,  # half restored
    "FOG-BLOB-001": NOT_FOUND,
    "FOG-DISK-001": BROKEN,
    "FOG-INV-003": REFUSED,  # wrong words
    "FOG-INV-004": REFUSED,  # used, expired or burnt
    "FOG-INV-005": NOT_FOUND,
    "FOG-LOG-001": NOT_PERMITTED,  # a matter of the group's members
    "FOG-LOG-002": BROKEN,
    "FOG-STORE-001": BROKEN,
    "FOG-STORE-002": BROKEN,
    "FOG-STORE-003": BROKEN,
    "FOG-STORE-004": BROKEN,
    "FOG-SVC-001": REFUSED,  # for now: what the API says with status 503
    NotFound.number: NOT_FOUND,
    WrongUse.number: WRONG_USE,
    Refused.number: REFUSED,
}
_BY_TYPE: Final[tuple[tuple[type[FogError], int], ...]] = (
    (NotRunning, NOT_RUNNING),
    (UntrustedFile, NOT_PERMITTED),
    (ConfigError, BROKEN),
    (KeystoreError, BROKEN),
    (LocalProtocolError, WRONG_USE),
    (LimitExceeded, REFUSED),
    (TransportError, UNREACHABLE),
)
# Worth another try as it is: in this many seconds.
_AGAIN_S: Final[tuple[tuple[type[FogError], float], ...]] = (
    (LimitExceeded, 5.0),
    (DeadlineExceeded, 1.0),
)


def exit_code(exc: FogError) -> int:
    """The exit code for an error; 1 for those that have none of their own."""
    if isinstance(exc, PeerSaid):
        return _BY_STATUS.get(exc.status, FAILED)
    if exc.number in _BY_NUMBER:
        return _BY_NUMBER[exc.number]
    return next((code for kind, code in _BY_TYPE if isinstance(exc, kind)), FAILED)


def report(exc: FogError, *, as_json: bool) -> None:
    """An error: code, what happened, what to type next."""
    code = exc.code if isinstance(exc, PeerSaid) else exc.number
    if as_json:
        click.echo(json.dumps(_error(exc, code), ensure_ascii=False), err=True)
        return
    click.echo(f"fogp2p: {code} {exc}", err=True)
    for address, failure in exc.attempts if isinstance(exc, Unreachable) else ():
        click.echo(f"  {address}: {failure}", err=True)
    if exc.hint:
        click.echo(f"  try: {exc.hint}", err=True)
    click.echo(f"  more: fogp2p docs {code}", err=True)


def _error(exc: FogError, code: str) -> dict[str, Any]:
    """As the class `Error` in answers.py, which costs an import that `status` need not pay."""
    return {
        "schema": "error/1",
        "code": code,
        "message": str(exc),
        "hint": exc.hint,
        "docs": f"fogp2p docs {code}",
        "retry_after_s": _again_s(exc),
        "exit": exit_code(exc),
    }


def _again_s(exc: FogError) -> float | None:
    if isinstance(exc, PeerSaid):
        return exc.retry_after_s
    return next((seconds for kind, seconds in _AGAIN_S if isinstance(exc, kind)), None)
