"""fogp2p services [restart | crash]"""

from __future__ import annotations

from typing import Any

import click

from fogp2p.cli.exits import NotFound
from fogp2p.cli.nearest import nearest
from fogp2p.cli.output import Output, duration, limit_option, table, watch_option
from fogp2p.client import Client

__all__ = ["command"]


@click.group("services", invoke_without_command=True)
@watch_option
@limit_option
@click.pass_context
def command(ctx: click.Context, watch: bool, limit: int | None) -> None:
    """List the parts the peer consists of: what each does, since when, and why it does not."""
    if ctx.invoked_subcommand is not None:
        return
    output: Output = ctx.obj
    client = output.client()

    def show() -> None:
        answer = client.get("services")
        answer["services"] = answer["services"][:limit]
        output.result(answer, _lines(answer["services"], output))

    output.repeat(show, watch=watch)


@command.command("restart")
@click.argument("name")
@click.pass_obj
def restart(output: Output, name: str) -> None:
    """Start the service NAME afresh, and what needs it."""
    client = output.client()
    _check(client, name)
    answer = client.post(f"services/{name}/restart")
    output.result(answer, [f"{name} starts afresh; fogp2p wait --for service={name}"])


@command.command("crash")
@click.argument("name")
@click.pass_obj
def crash(output: Output, name: str) -> None:
    """A drill: let the service NAME fail, and watch the supervisor bring it back."""
    client = output.client()
    _check(client, name)
    output.confirm(f"Let {name} fail? What needs it stops until it is back.")
    answer = client.post(f"services/{name}/crash")
    output.result(answer, [f"{name} was made to fail; watch it: fogp2p services --watch"])


def _check(client: Client, name: str) -> None:
    known = [each["name"] for each in client.get("services")["services"]]
    if name not in known:
        raise NotFound(
            f"there is no service {name!r}{nearest(name, known)}", hint="fogp2p services"
        )


def _lines(services: list[dict[str, Any]], output: Output) -> list[str]:
    rows = [
        [
            each["name"],
            each["state"],
            duration(each["since_s"]),
            str(each["restarts"]),
            "yes" if each["essential"] else "no",
            ", ".join(each["needs"]) or "-",
            _why(each),
        ]
        for each in services
    ]
    head = ["SERVICE", "STATE", "SINCE", "RESTARTS", "ESSENTIAL", "NEEDS", "WHY"]
    first, *others = table(head, rows)
    return [
        first,
        *(
            line if each["state"] == "ready" else output.paint(line, "yellow")
            for each, line in zip(services, others, strict=True)
        ),
    ]


def _why(service: dict[str, Any]) -> str:
    again = service["retry_in_s"]
    tail = f"; again in {duration(again)}" if again is not None else ""
    return f"{service['why'] or service['last_failure']}{tail}" if tail else service["why"]
