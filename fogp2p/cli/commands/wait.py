"""fogp2p wait"""

from __future__ import annotations

import time
from typing import Any, Final

import click

from fogp2p.cli.answers import Waited
from fogp2p.cli.exits import WrongUse
from fogp2p.cli.output import Output
from fogp2p.client import Client, NotRunning, PeerSaid
from fogp2p.errors import DeadlineExceeded
from fogp2p.schema import answer

__all__ = ["command"]

# A question costs the peer a millisecond.
_ASK_EVERY_S: Final = 0.1
# Without an essential part it is "failing".
_READY_FOR_WORK: Final = frozenset({"ok", "degraded"})


@click.command("wait")
@click.option(
    "--for",
    "condition",
    default="ready",
    show_default=True,
    metavar="CONDITION",
    help="online, ready, peers=N or service=NAME.",
)
@click.pass_obj
def command(output: Output, condition: str) -> None:
    """Wait until the peer answers (online), its essential parts run (ready), it is connected to
    N peers, or one service is ready.

    Gives up after --timeout seconds, with exit code 5 and the reason.
    """
    kind, _, value = _parsed(condition)
    start = time.monotonic()
    client = output.client()
    while why := _why_not(client, kind, value):
        output.detail(why)
        if time.monotonic() - start >= output.timeout_s:
            raise DeadlineExceeded(
                f"{condition} was not so within {output.timeout_s:g} s: {why}",
                hint="fogp2p status, or give it longer: --timeout 60",
            )
        time.sleep(_ASK_EVERY_S)
    took_s = round(time.monotonic() - start, 3)
    output.result(answer(Waited(condition, took_s)), [f"{condition} after {took_s:.1f} s"])


def _parsed(condition: str) -> tuple[str, str, str]:
    kind, equals, value = condition.partition("=")
    good = (
        (kind in ("online", "ready") and not equals)
        or (kind == "peers" and value.isascii() and value.isdigit())
        or (kind == "service" and bool(value))
    )
    if not good:
        raise WrongUse(
            f"cannot wait for {condition!r}",
            hint="--for online, --for ready, --for peers=3 or --for service=mdns",
        )
    return kind, equals, value


def _why_not(client: Client, kind: str, value: str) -> str:
    """Why it is not yet so; empty when it is."""
    try:
        if kind == "service":
            return _service(client.get("services")["services"], value)
        status = client.get("status")
    except NotRunning as exc:
        return str(exc)
    except PeerSaid as exc:
        if exc.status != 503:
            raise
        return str(exc)  # overloaded, or still starting
    if kind == "ready":
        return _health(status)
    if kind == "peers" and status["peers_connected"] < int(value):
        why = f" ({status['why']})" if status["why"] else ""
        return f"{status['peers_connected']} peers are connected{why}"
    return ""


def _health(status: dict[str, Any]) -> str:
    health = status.get("health", "ok")
    if health in _READY_FOR_WORK:
        return ""
    reasons = "; ".join(f"{each['subject']}: {each['happened']}" for each in status["reasons"])
    return f"it is {health}{f' ({reasons})' if reasons else ''}"


def _service(services: list[dict[str, Any]], name: str) -> str:
    found = next((each for each in services if each["name"] == name), None)
    if found is None:
        return f"there is no service {name}"
    why = f" ({found['why']})" if found["why"] else ""
    return "" if found["state"] == "ready" else f"{name} is {found['state']}{why}"
