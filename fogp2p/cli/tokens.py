"""fogp2p config token create | list | revoke: a group of its own below `config`."""

from __future__ import annotations

import re
from typing import Final

import click

from fogp2p.cli.output import Output, duration, table

__all__ = ["token"]

_TTL: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Ttl(click.ParamType[int]):
    name = "ttl"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = _TTL.fullmatch(str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r} is no time such as 90m, 12h or 30d", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


@click.group("token")
def token() -> None:
    """Tokens for programs that use the API over TCP. The socket needs none."""


@token.command("create")
@click.option(
    "--scope",
    type=click.Choice(("read", "control", "admin")),
    default="read",
    show_default=True,
    help="What its holder may do.",
)
@click.option(
    "--ttl",
    type=_Ttl(),
    default="1d",
    show_default=True,
    help="How long it holds, such as 12h or 30d; at most as long as the peer runs.",
)
@click.option("--name", default="", help="For you: what it is for.")
@click.pass_obj
def create(output: Output, scope: str, ttl: int, name: str) -> None:
    """Make a token. It is shown once, and kept by the peer as a hash only."""
    made = output.client().post("tokens", {"scope": scope, "name": name, "ttl_s": ttl})
    output.result(made, [made["token"]])
    output.say(f"id {made['id']}; use it as: Authorization: Bearer TOKEN")
    output.say(f"take it back: fogp2p config token revoke {made['id']}")


@token.command("list")
@click.pass_obj
def list_tokens(output: Output) -> None:
    """List the tokens; none of them is shown."""
    found = output.client().get("tokens")
    rows = [
        [each["id"], each["name"] or "-", each["scope"], _ends(each["ends_in_s"])]
        for each in found["tokens"]
    ]
    output.result(found, table(["ID", "NAME", "SCOPE", "ENDS"], rows))


@token.command("revoke")
@click.argument("id")
@click.pass_obj
def revoke(output: Output, id: str) -> None:
    """Take the token with this ID back, at once."""
    answer = output.client().delete(f"tokens/{id}")
    output.result(answer, [f"{id} is worth nothing any more"])


def _ends(in_s: float | None) -> str:
    return "with the peer" if in_s is None else f"in {duration(in_s)}"
