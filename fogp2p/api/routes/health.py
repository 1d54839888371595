"""For machines that watch: liveness, readiness, metrics, and the description of all this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response

from fogp2p import __version__
from fogp2p.api.context import Context
from fogp2p.api.metrics import Metrics, Sight
from fogp2p.api.openapi import document_of
from fogp2p.api.operations import PREFIX, Call, Operation, Reply
from fogp2p.api.scopes import Scope
from fogp2p.node import Health
from fogp2p.schema import about, named
from fogp2p.supervisor import State

__all__ = ["document", "routes"]


@named("health/1")
@dataclass(frozen=True, slots=True)
class Alive:
    """The process lives and its loop turns."""

    version: str


@named("ready/1")
@dataclass(frozen=True, slots=True)
class Ready:
    """Whether the peer can do its work."""

    ready: bool
    reasons: tuple[str, ...] = field(metadata=about("Why not; empty when it is ready."))


def routes(context: Context) -> Sequence[Operation]:
    """The three that watchers ask."""
    context.metrics.look_at(lambda: _look(context))

    async def healthz(call: Call) -> Alive:
        return Alive(__version__)

    async def readyz(call: Call) -> Reply:
        reasons = tuple(_reasons(context))
        return Reply(Ready(not reasons, reasons), 503 if reasons else 200)

    async def metrics(call: Call) -> Response:
        return Response(context.metrics.text(), headers={"content-type": Metrics.media})

    return (
        Operation(
            method="GET",
            path="/healthz",
            name="healthz",
            summary="Whether the process lives. No token, no data.",
            scope=Scope.OPEN,
            handler=healthz,
            answer=Alive,
        ),
        Operation(
            method="GET",
            path="/readyz",
            name="readyz",
            summary="Whether the peer can do its work; 503 with the reasons when not.",
            scope=Scope.OPEN,
            handler=readyz,
            answer=Ready,
        ),
        Operation(
            method="GET",
            path="/metrics",
            name="metrics",
            summary="For Prometheus.",
            scope=Scope.READ,
            handler=metrics,
            media="text/plain",
        ),
    )


def document(operations: Sequence[Operation]) -> Operation:
    """The operation that describes `operations` and itself."""

    async def openapi(call: Call) -> Response:
        return JSONResponse(made)

    own = Operation(
        method="GET",
        path=f"{PREFIX}/openapi.json",
        name="openapi",
        summary="This API as OpenAPI 3.1.",
        scope=Scope.READ,
        handler=openapi,
    )
    made = document_of((*operations, own))
    return own


def _reasons(context: Context) -> Sequence[str]:
    """Not ready while stopping, and while an essential part is down; degraded is ready."""
    if context.node.stopping.is_set():
        return ("the peer is stopping",)
    status = context.node.status()
    if status.health is not Health.FAILING:
        return ()
    found = [f"{each.subject}: {each.happened}" for each in status.reasons]
    return found or ("the peer is starting",)


def _look(context: Context) -> Sight:
    status = context.node.status()
    return Sight(
        peers_connected=status.peers_connected,
        peers_agreed=status.peers_agreed,
        peers_wanted=status.peers_wanted,
        echo_messages=status.echo_messages,
        echo_bytes=status.echo_bytes,
        uptime_s=status.uptime_s,
        last_event=context.node.event_log.last,
        subscribers=context.subscribers.count,
        services=[
            (each.name, each.state is State.READY, each.restarts)
            for each in context.node.services()
        ],
        gossip=context.node.gossip_stats(),
    )
