"""The running peer, or what is left of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fogp2p import __version__
from fogp2p.doctor.context import Context
from fogp2p.doctor.findings import Finding, fault, fine
from fogp2p.errors import ConfigError

__all__ = ["process", "services"]

# States of the store that have a page of their own.
_STORE: Final = {
    "damaged": "FOG-DOC-090",
    "read-only": "FOG-DOC-091",
    "newer": "FOG-DOC-092",
}
# States of a service in which it does not do its work, and did not choose so.
_DOWN = frozenset({"waiting", "backing-off", "failed"})


def process(context: Context) -> Iterator[Finding]:
    """Whether it runs, answers, and is the version that is installed."""
    if context.peer is not None:
        running = context.peer.status["version"]
        if running != __version__:
            yield fault(
                "peer",
                "FOG-DOC-075",
                f"the running peer has version {running}, {__version__} is installed",
                affects="what was mended since is not in effect",
                hint="fogp2p down; fogp2p up -d",
            )
        else:
            yield fine("peer", f"runs, version {running}")
        return
    try:
        socket = context.paths.socket
    except ConfigError as exc:
        yield fault(
            "peer",
            "FOG-DOC-020",
            "the configuration is wrong",
            evidence=str(exc),
            affects="the next start: the peer cannot make its socket",
            hint=exc.hint,
        )
        return
    holder = context.system.locked(context.paths.lock)
    if holder:
        yield fault(
            "peer",
            "FOG-DOC-071",
            "the peer's process does not answer",
            evidence=f"process {holder} holds {context.paths.lock}; nothing answers on {socket}",
            affects="every command, and the next start",
            hint=f"is it still starting? else: kill {holder}; fogp2p up -d",
            place=str(context.paths.lock),
        )
    elif context.system.stat(socket) is not None:
        yield fault(
            "peer",
            "FOG-DOC-070",
            "a socket was left behind",
            evidence=f"nobody listens on {socket}, and nobody holds the lock",
            affects="nothing: the next start replaces it; the peer ended without tidying up",
            hint=f"rm {socket}; fogp2p logs  may say how it ended",
            place=str(socket),
            fixable=True,
        )
    else:
        yield fine("peer", "not running", evidence="to start it: fogp2p up -d")


def services(context: Context) -> Iterator[Finding]:
    """What the peer says of its parts."""
    if context.peer is None:
        return
    down = [each for each in context.peer.services if each["state"] in _DOWN]
    for each in down:
        name = each["name"]
        yield fault(
            "services",
            "FOG-DOC-072" if each["essential"] else "FOG-DOC-073",
            f"the service {name} is {each['state']}",
            evidence=each["why"] or each["last_failure"] or "it gives no reason",
            affects=f"everything that needs {name}",
            hint=f"fogp2p services restart {name}",
            place=name,
        )
    if context.peer.services and not down:
        yield fine("services", f"all {len(context.peer.services)} are well")
    yield from _reasons(context)


def _reasons(context: Context) -> Iterator[Finding]:
    status = context.peer.status if context.peer is not None else {}
    reasons = list(status.get("reasons", ()))
    if status.get("why") and not any(each["subject"] == "peers" for each in reasons):
        reasons.append({"subject": "peers", "happened": status["why"], "hint": ""})
    # A part that is down has a finding of its own.
    down = {each["name"] for each in context.peer.services} if context.peer is not None else set()
    reasons = [each for each in reasons if each["subject"] not in down]
    for each in reasons:
        yield fault(
            "services",
            _code(each, status.get("rooms") or {}),
            f"{each['subject']}: {each['happened']}",
            affects=f"{each['subject']} do less than they could",
            hint=each["hint"] or "fogp2p status",
            place=each["subject"],
        )


def _code(reason: Mapping[str, str], rooms: Mapping[str, Any]) -> str:
    """Some reasons have a page of their own."""
    if reason["subject"] == "store":
        return _STORE.get(rooms.get("store", ""), "FOG-DOC-074")
    full = reason["subject"] == "blobs" and reason["happened"].startswith("full")
    return "FOG-DOC-093" if full else "FOG-DOC-074"
