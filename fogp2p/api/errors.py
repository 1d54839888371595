"""What the API refuses, each with its own number and HTTP status (RFC 9457)."""

from __future__ import annotations

from typing import ClassVar

from fogp2p.errors import FogError

from .config import RETRY_AFTER_S

__all__ = [
    "ApiError",
    "BadCsrf",
    "BadHost",
    "BadLogin",
    "BadOrigin",
    "BadRequest",
    "BodyTooLarge",
    "BodyTooSlow",
    "InternalError",
    "MethodNotAllowed",
    "NotFound",
    "NotJson",
    "OutOfScope",
    "Overloaded",
    "TooManyBadTokens",
    "TooManyTokens",
    "Unauthorized",
]


class ApiError(FogError):
    """Base of what the API refuses before it asks the peer. Abstract: see the subclasses."""

    status: ClassVar[int]

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class BadRequest(ApiError):
    """The request is malformed; the message names the member or parameter to mend."""

    number = "FOG-API-001"
    status = 400


class NotFound(ApiError):
    """Nothing has this address, or this name below it."""

    number = "FOG-API-004"
    status = 404


class MethodNotAllowed(ApiError):
    """The address exists, but not with this method; `Allow` lists those it has."""

    number = "FOG-API-005"
    status = 405

    def __init__(self, message: str, *, allowed: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.allowed = allowed


class BadHost(ApiError):
    """The Host header names something else than this API: perhaps a web page's rebound name."""

    number = "FOG-API-006"
    status = 403


class BadOrigin(ApiError):
    """A web page of somebody else asked, through the owner's browser."""

    number = "FOG-API-007"
    status = 403


class Unauthorized(ApiError):
    """No token, or one that is wrong, expired or revoked."""

    number = "FOG-API-008"
    status = 401


class OutOfScope(ApiError):
    """The token is good, but not for this."""

    number = "FOG-API-009"
    status = 403


class BodyTooLarge(ApiError):
    """The request's body is larger than any request needs."""

    number = "FOG-API-010"
    status = 413


class NotJson(ApiError):
    """The body is of a kind this API does not read: JSON only."""

    number = "FOG-API-011"
    status = 415


class BodyTooSlow(ApiError):
    """The body did not arrive in time."""

    number = "FOG-API-012"
    status = 408


class Overloaded(ApiError):
    """Too many requests or event streams are under way; come back after `Retry-After`."""

    number = "FOG-API-013"
    status = 503

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, retry_after_s=RETRY_AFTER_S)


class BadCsrf(ApiError):
    """A browser session changed something without the header that only our own page can send."""

    number = "FOG-API-014"
    status = 403


class TooManyTokens(ApiError):
    """As many tokens or sessions exist as are allowed; revoke one, or let it expire."""

    number = "FOG-API-015"
    status = 409


class BadLogin(ApiError):
    """The one-time code is wrong, used or older than a minute."""

    number = "FOG-API-016"
    status = 403


class TooManyBadTokens(ApiError):
    """Somebody guesses tokens faster than they are answered."""

    number = "FOG-API-017"
    status = 429


class InternalError(ApiError):
    """A fault in this program; its log has the traceback."""

    number = "FOG-API-018"
    status = 500
