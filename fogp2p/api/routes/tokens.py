"""Tokens for programs, each with a scope and an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from fogp2p.api.config import MAX_TOKEN_TTL_S
from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound, TooManyTokens
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.schema import about, named

__all__ = ["routes"]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What the token may do, and for how long."""

    scope: Literal["read", "control", "admin"]
    ttl_s: float = field(
        default=86_400.0,
        metadata=about(
            "Seconds; a restart of the peer ends it too.", minimum=1, maximum=MAX_TOKEN_TTL_S
        ),
    )
    name: str = field(default="", metadata=about("For the list.", maxLength=60))


@named("token/1")
@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A new token; it is shown this once, only its hash is kept."""

    token: str
    id: str
    scope: str
    ttl_s: float


@dataclass(frozen=True, slots=True)
class TokenStatus:
    """A token without its secret."""

    id: str
    name: str
    scope: str
    age_s: float
    ends_in_s: float | None = field(metadata=about("None: with the process."))


@named("tokens/1")
@dataclass(frozen=True, slots=True)
class TokenList:
    """All that are good now."""

    tokens: tuple[TokenStatus, ...]


@named("token-revoked/1")
@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """It is good for nothing any more."""

    id: str


def routes(context: Context) -> Sequence[Operation]:
    """Making, listing, revoking."""
    path = f"{PREFIX}/tokens"

    async def make(call: Call) -> TokenAnswer:
        asked: TokenRequest = call.request
        text, grant = context.tokens.add(
            context.secret(),
            name=asked.name,
            scope=Scope(asked.scope),
            now=context.now(),
            ttl_s=asked.ttl_s,
        )
        return TokenAnswer(text, grant.id, grant.scope.value, asked.ttl_s)

    async def list_all(call: Call) -> TokenList:
        now = context.now()
        context.tokens.forget_old(now)
        return TokenList(
            tuple(
                TokenStatus(
                    each.id,
                    each.name,
                    each.scope.value,
                    now - each.created_at,
                    each.expires_at - now if each.expires_at is not None else None,
                )
                for each in context.tokens
            )
        )

    async def revoke(call: Call) -> TokenRevoked:
        id = call.path["id"]
        if not context.tokens.revoke(id):
            raise NotFound("no token has this id", hint=f"GET {path}")
        return TokenRevoked(id)

    return (
        Operation(
            method="POST",
            path=path,
            name="make_token",
            summary="Make a token for a program.",
            scope=Scope.ADMIN,
            handler=make,
            request=TokenRequest,
            answer=TokenAnswer,
            status=201,
            errors=(TooManyTokens,),
        ),
        Operation(
            method="GET",
            path=path,
            name="tokens",
            summary="List the tokens, without their secrets.",
            scope=Scope.ADMIN,
            handler=list_all,
            answer=TokenList,
        ),
        Operation(
            method="DELETE",
            path=f"{path}/{{id}}",
            name="revoke_token",
            summary="Revoke a token.",
            scope=Scope.ADMIN,
            handler=revoke,
            answer=TokenRevoked,
            parameters={"id": "A token's id, as the list has it."},
            errors=(NotFound,),
        ),
    )
