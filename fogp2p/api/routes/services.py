"""The peer's services: how they are, and a restart or a drill for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.node import Services
from fogp2p.schema import named

__all__ = ["routes"]

_NAME = {"name": "A service, as `GET /api/v1/services` has it."}


@named("service-asked/1")
@dataclass(frozen=True, slots=True)
class Asked:
    """It is under way; `GET /api/v1/services` and events say how it goes."""

    name: str
    action: str


def routes(context: Context) -> Sequence[Operation]:
    """Listing, restart, crash."""

    async def services(call: Call) -> Services:
        return Services(context.node.services(), context.node.service_groups())

    async def restart(call: Call) -> Asked:
        name = _named(context, call)
        await context.node.restart_service(name)
        return Asked(name, "restart")

    async def crash(call: Call) -> Asked:
        name = _named(context, call)
        await context.node.crash_service(name)
        return Asked(name, "crash")

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/services",
            name="services",
            summary="The peer's services and their groups: state, restarts, problems.",
            scope=Scope.READ,
            handler=services,
            answer=Services,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/services/{{name}}/restart",
            name="restart_service",
            summary="Stop one service and start it again.",
            scope=Scope.ADMIN,
            handler=restart,
            answer=Asked,
            status=202,
            parameters=_NAME,
            errors=(NotFound,),
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/services/{{name}}/crash",
            name="crash_service",
            summary="A drill: let one service fail, and see it come back.",
            scope=Scope.ADMIN,
            handler=crash,
            answer=Asked,
            status=202,
            parameters=_NAME,
            errors=(NotFound,),
        ),
    )


def _named(context: Context, call: Call) -> str:
    name = call.path["name"]
    if name not in (each.name for each in context.node.services()):
        raise NotFound(f"no service has the name {name[:40]!r}", hint="GET /api/v1/services")
    return name
