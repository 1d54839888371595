"""Tokens: 256 random bits each, kept as SHA-256 only. No clock and no chance in here.

A hash without salt is enough for secrets of full entropy: there is nothing to try out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from .config import BAD_TOKENS_PER_MINUTE, MAX_TOKENS
from .errors import TooManyTokens
from .scopes import Scope

__all__ = ["BadTokens", "Grant", "SECRET_BYTES", "Tokens", "digest_of", "text_of"]

SECRET_BYTES = 32


def text_of(secret: bytes) -> str:
    """Random bytes as a header or a URL carries them."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Grant:
    """One token. `id` names it without revealing it; `expires_at` None lives with the process."""

    id: str
    name: str
    scope: Scope
    digest: bytes
    created_at: float
    expires_at: float | None


class Tokens:
    """At most 64 tokens, with the process's own one among them."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def __iter__(self) -> Iterator[Grant]:
        return iter(self._grants.values())

    def add(
        self, secret: bytes, *, name: str, scope: Scope, now: float, ttl_s: float | None
    ) -> tuple[str, Grant]:
        """Grant `scope` to whoever shows the returned text. Raises TooManyTokens."""
        self.forget_old(now)
        if len(self._grants) >= MAX_TOKENS:
            raise TooManyTokens(
                f"there are {MAX_TOKENS} tokens already",
                hint="GET /api/v1/tokens lists them, DELETE /api/v1/tokens/{id} revokes one",
            )
        text = text_of(secret)
        digest = digest_of(text)
        ends = now + ttl_s if ttl_s is not None else None
        grant = Grant(digest.hex()[:12], name, scope, digest, now, ends)
        self._grants[grant.id] = grant
        return text, grant

    def revoke(self, id: str) -> bool:
        """Whether there was such a token."""
        return self._grants.pop(id, None) is not None

    def forget_old(self, now: float) -> None:
        """Drop what has expired."""
        ended = [
            grant.id
            for grant in self._grants.values()
            if grant.expires_at is not None and grant.expires_at <= now
        ]
        for id in ended:
            del self._grants[id]

    def scope_of(self, secret: str, now: float) -> Scope | None:
        """What `secret` grants. Takes the same time whichever token it is or resembles."""
        digest, found = digest_of(secret), None
        for grant in self._grants.values():
            fits = hmac.compare_digest(grant.digest, digest)
            if fits and (grant.expires_at is None or grant.expires_at > now):
                found = grant.scope
        return found


class BadTokens:
    """Counts wrong tokens of the last minute, of all callers: loopback has no addresses."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=BAD_TOKENS_PER_MINUTE)

    def saw_one(self, now: float) -> bool:
        """Count one; whether it has to wait, because ten came in the minute before."""
        full = len(self._times) == BAD_TOKENS_PER_MINUTE
        must_wait = full and now - self._times[0] < 60
        self._times.append(now)
        return must_wait
