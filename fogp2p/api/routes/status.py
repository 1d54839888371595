"""The peer itself: how it is, and stopping it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fogp2p.api.context import Context
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.node import NodeStatus
from fogp2p.schema import named

__all__ = ["routes"]


@named("stop/1")
@dataclass(frozen=True, slots=True)
class Stopping:
    """The peer stops once this answer is out."""

    stopping: bool


def routes(context: Context) -> Sequence[Operation]:
    """Status and stop."""

    async def status(call: Call) -> NodeStatus:
        return context.node.status()

    async def stop(call: Call) -> Stopping:
        return Stopping(True)

    async def now() -> None:
        context.node.stop()

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/status",
            name="status",
            summary="What the peer does, and why it does nothing.",
            scope=Scope.READ,
            handler=status,
            answer=NodeStatus,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/stop",
            name="stop",
            summary="Stop the peer.",
            scope=Scope.ADMIN,
            handler=stop,
            answer=Stopping,
            status=202,
            after=now,
        ),
    )
