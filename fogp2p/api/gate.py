"""Who comes in: exact Host and Origin, then a token, a browser session, or the socket itself.

Pure except for the names of the request: headers in, a Caller or an ApiError out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import BadCsrf, BadHost, BadOrigin, OutOfScope, Unauthorized
from .scopes import Scope
from .sessions import Sessions
from .tokens import Tokens

__all__ = ["Caller", "Door", "Headers", "identify", "permit"]

CSRF_HEADER = b"x-fog-csrf"
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what it may do. `via`: socket, token, session or nobody."""

    scope: Scope
    via: str
    session: str = ""
    """The session's cookie value, for a caller with one."""


NOBODY = Caller(Scope.OPEN, "nobody")
OWNER = Caller(Scope.ADMIN, "socket")


@dataclass(frozen=True, slots=True)
class Door:
    """One way in. `authorities`: the exact Host headers it answers to, in lower case.

    `trusted`: whoever comes through is the owner (file rights on the socket decided that).
    """

    name: str
    authorities: tuple[str, ...]
    trusted: bool

    @property
    def cookie(self) -> str:
        """Cookies ignore ports: two peers of one owner need names of their own."""
        port = self.authorities[0].rpartition(":")[2]
        return f"fogp2p_{port if port.isdecimal() else 'socket'}"

    def check_host(self, headers: Headers) -> str:
        """The Host that was named. Raises BadHost for a missing, odd, foreign or second one."""
        named = [value for name, value in headers if name == b"host"]
        if len(named) == 1:
            host = named[0].decode("latin-1").lower()
            if host in self.authorities:
                return host
        raise BadHost(
            "the Host header does not name this API",
            hint=f"ask for {' or '.join(self.authorities)}; another address is set with "
            "[api] tcp in the configuration",
        )

    def check_origin(self, host: str, headers: Headers, *, navigating: bool) -> None:
        """Raises BadOrigin when a page of another origin asks, whatever the method.

        Without an Origin no page's script asks, except for what a page embeds: browsers mark that.
        `navigating`: a person may follow a link to the page itself.
        """
        origins = [value for name, value in headers if name == b"origin"]
        if origins and origins != [f"http://{host}".encode("latin-1")]:
            raise BadOrigin(
                "the Origin header names another page than this API's own",
                hint=f"only http://{host} may ask; there is no setting that lets other pages in",
            )
        site = [value for name, value in headers if name == b"sec-fetch-site"]
        if site and site not in ([b"same-origin"], [b"none"]) and not navigating:
            raise BadOrigin(
                "another page embeds or sends this request",
                hint=f"open http://{host}/ itself",
            )


def identify(
    door: Door,
    headers: Headers,
    *,
    unsafe: bool,
    tokens: Tokens,
    sessions: Sessions,
    now: float,
) -> Caller:
    """Who asks. Raises Unauthorized for a wrong token, BadCsrf for a session without its header.

    No credentials at all is NOBODY, who may still ask for what is open.
    """
    if door.trusted:
        return OWNER
    given = [value for name, value in headers if name == b"authorization"]
    if given:
        scheme, _, secret = given[0].decode("latin-1").partition(" ")
        found = tokens.scope_of(secret.strip(), now) if scheme.lower() == "bearer" else None
        if found is None or len(given) > 1:
            raise _unauthorized("the token is wrong, expired or revoked")
        return Caller(found, "token")
    cookie = _cookie(headers, door.cookie)
    session = sessions.find(cookie, now) if cookie else None
    if session is None:
        return NOBODY
    if unsafe:
        proofs = [value for name, value in headers if name == CSRF_HEADER]
        if len(proofs) != 1 or not session.proves(proofs[0].decode("latin-1")):
            raise BadCsrf(
                "a browser session needs the X-Fog-Csrf header to change anything",
                hint="GET /api/v1/sessions/current says its value",
            )
    return Caller(session.scope, "session", cookie)


def permit(caller: Caller, wanted: Scope) -> None:
    """Raises Unauthorized for nobody, OutOfScope for somebody who may not."""
    if caller.scope.covers(wanted):
        return
    if caller is NOBODY:
        raise _unauthorized("this needs a token")
    raise OutOfScope(
        f"this needs the scope {wanted.value}; the {caller.via} has {caller.scope.value}",
        hint=f'POST /api/v1/tokens with {{"scope": "{wanted.value}"}} makes one that may',
    )


def _unauthorized(message: str) -> Unauthorized:
    return Unauthorized(
        message,
        hint="send `Authorization: Bearer` with what is in the file api.token of the run directory",
    )


def _cookie(headers: Headers, wanted: str) -> str:
    for name, value in headers:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, content = part.strip().partition("=")
                if key == wanted:
                    return content
    return ""
