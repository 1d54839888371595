"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from starlette.responses import JSONResponse, Response

from fogp2p.environment import DiskError
from fogp2p.errors import (
    ConfigError,
    DeadlineExceeded,
    FogError,
    LimitExceeded,
    LocalProtocolError,
    ProtocolRefused,
    RemoteProtocolError,
    TransportError,
)
from fogp2p.protocols.blob import UnknownBlob
from fogp2p.protocols.invite import InviteGone, NoSuchInvite, WrongWords
from fogp2p.protocols.log import NotPermitted
from fogp2p.schema import about, answer, named
from fogp2p.store import StoreBusy, StoreFull, StoreReadOnly
from fogp2p.supervisor import ServiceDown

from .config import RETRY_AFTER_S
from .errors import ApiError, MethodNotAllowed

__all__ = ["MEDIA", "Problem", "problem_response", "status_of"]

MEDIA: Final = "application/problem+json"
# The error type decides the HTTP status; the first that fits counts.
_STATUS: Final[tuple[tuple[type[FogError], int], ...]] = (
    (LocalProtocolError, 400),
    (ConfigError, 400),
    (ProtocolRefused, 409),
    (DeadlineExceeded, 504),
    (TransportError, 502),
    (RemoteProtocolError, 502),
    (LimitExceeded, 503),
    (ServiceDown, 503),
    (WrongWords, 409),
    (InviteGone, 409),
    (NoSuchInvite, 404),
    (UnknownBlob, 404),
    (NotPermitted, 403),
    (StoreBusy, 503),
    (StoreFull, 507),
    (StoreReadOnly, 507),
    (DiskError, 507),
)


@named("problem/1")
@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer (RFC 9457)."""

    type: str = field(metadata=about("Where the manual explains the code."))
    title: str = field(metadata=about("The kind of error."))
    status: int = field(metadata=about("The HTTP status.", minimum=400, maximum=599))
    code: str = field(metadata=about("The stable number.", pattern="^FOG-[A-Z]+-[0-9]{3}$"))
    detail: str = field(metadata=about("What happened."))
    hint: str = field(metadata=about("What to do next; may be empty."))
    docs: str = field(metadata=about("The command that shows the manual's page."))
    retry_after_s: float | None = field(metadata=about("When to try again, if ever."))


def status_of(exc: FogError) -> int:
    """The HTTP status of an error."""
    if isinstance(exc, ApiError):
        return exc.status
    return next((status for kind, status in _STATUS if isinstance(exc, kind)), 500)


def problem_response(exc: FogError) -> Response:
    """The whole answer."""
    status = status_of(exc)
    retry = exc.retry_after_s if isinstance(exc, ApiError) else None
    if status == 503 and retry is None:  # a bound or a part that is down: both pass
        retry = RETRY_AFTER_S
    headers = {}
    if retry is not None:
        headers["Retry-After"] = str(max(1, round(retry)))
    if isinstance(exc, MethodNotAllowed):
        headers["Allow"] = ", ".join(exc.allowed)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="fogp2p"'
    problem = Problem(
        type=f"urn:fogp2p:error:{exc.number}",
        title=type(exc).__name__,
        status=status,
        code=exc.number,
        detail=str(exc),
        hint=exc.hint,
        docs=f"fogp2p docs {exc.number}",
        retry_after_s=retry,
    )
    return JSONResponse(answer(problem), status, headers, MEDIA)
