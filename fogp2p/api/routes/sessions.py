"""Browser sessions: the owner asks for a code, the browser exchanges it for a cookie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from starlette.responses import RedirectResponse

from fogp2p.api.config import LOGIN_CODE_S, SESSION_S
from fogp2p.api.context import Context
from fogp2p.api.errors import BadLogin, NotFound, TooManyTokens
from fogp2p.api.gate import Door
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.schema import about, named

__all__ = ["routes"]


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What the browser may do."""

    scope: Literal["read", "control", "admin"] = "admin"


@named("login-code/1")
@dataclass(frozen=True, slots=True)
class LoginCode:
    """Good for one login within `ttl_s`."""

    code: str
    ttl_s: float
    url: str = field(metadata=about("Open this; empty when [api] tcp is off."))


@named("session/1")
@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """The caller's own session."""

    scope: str
    csrf: str = field(metadata=about("Send it as X-Fog-Csrf with whatever changes something."))
    ends_in_s: float


@named("sessions-closed/1")
@dataclass(frozen=True, slots=True)
class SessionsClosed:
    """Nobody is logged in by browser any more."""

    closed: int


@dataclass(frozen=True, slots=True)
class LoginQuery:
    """The code."""

    code: str = field(metadata=about("From POST /api/v1/sessions.", maxLength=100))


def routes(context: Context) -> Sequence[Operation]:
    """Code, login, the session's own view, and ending all."""

    async def invite(call: Call) -> LoginCode:
        scope = Scope(call.request.scope)
        code = context.sessions.invite(context.secret(), scope, context.now())
        return LoginCode(
            code, LOGIN_CODE_S, f"{context.url}login?code={code}" if context.url else ""
        )

    async def login(call: Call) -> RedirectResponse:
        door = Door("", (call.headers.get("host", ""),), trusted=False)
        answer = RedirectResponse("/", 303)
        try:
            cookie = context.sessions.open(
                call.query.code, context.secret(), context.secret(), context.now()
            )
        except BadLogin:
            if call.headers.get("sec-fetch-mode") != "navigate":
                raise
            return answer  # the page says to a person what to do, if they are not in already
        answer.set_cookie(
            door.cookie,
            cookie,
            max_age=int(SESSION_S),
            path="/",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def current(call: Call) -> SessionAnswer:
        session = context.sessions.find(call.caller.session, context.now())
        if session is None:
            raise NotFound("you have no browser session", hint="tokens and the socket need none")
        return SessionAnswer(session.scope.value, session.csrf, session.expires_at - context.now())

    async def close(call: Call) -> SessionsClosed:
        return SessionsClosed(context.sessions.close_all())

    return (
        Operation(
            method="POST",
            path=f"{PREFIX}/sessions",
            name="make_login_code",
            summary="Make a one-time code for a browser.",
            scope=Scope.ADMIN,
            handler=invite,
            request=SessionRequest,
            answer=LoginCode,
            status=201,
        ),
        Operation(
            method="GET",
            path="/login",
            name="login",
            summary="Exchange the code for a cookie and go to the page.",
            scope=Scope.OPEN,
            handler=login,
            query=LoginQuery,
            status=303,
            media="",
            errors=(BadLogin, TooManyTokens),
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/sessions/current",
            name="session",
            summary="The browser's own session, with its CSRF value.",
            scope=Scope.READ,
            handler=current,
            answer=SessionAnswer,
            errors=(NotFound,),
        ),
        Operation(
            method="DELETE",
            path=f"{PREFIX}/sessions",
            name="close_sessions",
            summary="End every browser session.",
            scope=Scope.ADMIN,
            handler=close,
            answer=SessionsClosed,
        ),
    )
