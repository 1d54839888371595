"""Browser sessions: a one-time code from the owner becomes a cookie. No clock, no chance here."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from .config import LOGIN_CODE_S, MAX_LOGIN_CODES, MAX_SESSIONS, SESSION_S
from .errors import BadLogin, TooManyTokens
from .scopes import Scope
from .tokens import digest_of, text_of

__all__ = ["Session", "Sessions"]


@dataclass(frozen=True, slots=True)
class Session:
    """`csrf` is what our own page sends back with everything that changes something."""

    scope: Scope
    csrf: str
    expires_at: float

    def proves(self, csrf: str) -> bool:
        """Whether the page that asks is ours."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogateescape"))


class Sessions:
    """Codes and cookies are kept as SHA-256, found by it: the lookup itself reveals no secret."""

    def __init__(self) -> None:
        self._codes: dict[bytes, tuple[Scope, float]] = {}
        self._sessions: dict[bytes, Session] = {}

    def invite(self, secret: bytes, scope: Scope, now: float) -> str:
        """A code that opens one session within a minute. The oldest code goes for a ninth."""
        self._codes = {key: each for key, each in self._codes.items() if each[1] > now}
        while len(self._codes) >= MAX_LOGIN_CODES:
            del self._codes[next(iter(self._codes))]
        code = text_of(secret)
        self._codes[digest_of(code)] = (scope, now + LOGIN_CODE_S)
        return code

    def open(self, code: str, secret: bytes, csrf: bytes, now: float) -> str:
        """Take the code, which is gone then; return the cookie.

        Raises BadLogin, or TooManyTokens when 16 sessions are open.
        """
        scope, ends = self._codes.pop(digest_of(code), (Scope.OPEN, now))
        if ends <= now:
            raise BadLogin(
                "this login code is wrong, used or older than a minute",
                hint="ask for a new one: POST /api/v1/sessions, or `fogp2p dashboard`",
            )
        self._sessions = {
            key: each for key, each in self._sessions.items() if each.expires_at > now
        }
        if len(self._sessions) >= MAX_SESSIONS:
            raise TooManyTokens(
                f"{MAX_SESSIONS} browser sessions are open already",
                hint="DELETE /api/v1/sessions ends all of them",
            )
        cookie = text_of(secret)
        self._sessions[digest_of(cookie)] = Session(scope, text_of(csrf), now + SESSION_S)
        return cookie

    def find(self, cookie: str, now: float) -> Session | None:
        """The open session of a cookie."""
        session = self._sessions.get(digest_of(cookie))
        return session if session is not None and session.expires_at > now else None

    def close_all(self) -> int:
        """End every session and every unused code; how many sessions there were."""
        count = len(self._sessions)
        self._sessions.clear()
        self._codes.clear()
        return count
