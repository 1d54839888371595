"""The peer's services: how they are, and a restart or a drill for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fogp2p.api.context import Context, ServiceTree
from fogp2p.api.errors import NotFound
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.schema import about, named

__all__ = ["routes"]

_NAME = {"name": "A service, as `GET /api/v1/services` has it."}


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """One service."""

    name: str
    state: str = field(metadata=about("Such as running, restarting, failed, stopped."))
    restarts: int
    problem: str = field(metadata=about("Why it does not run, or ended last; may be empty."))


@named("services/1")
@dataclass(frozen=True, slots=True)
class Services:
    """All services, in their order of start. Empty when this peer has no service tree."""

    services: tuple[ServiceAnswer, ...]


@named("service-asked/1")
@dataclass(frozen=True, slots=True)
class Asked:
    """It is under way; `GET /api/v1/services` and events say how it goes."""

    name: str
    action: str


def routes(context: Context) -> Sequence[Operation]:
    """Listing, restart, crash."""

    async def services(call: Call) -> Services:
        tree = context.services
        return Services(tuple(_shown(tree)) if tree is not None else ())

    async def restart(call: Call) -> Asked:
        tree, name = _named(context, call)
        await tree.restart_service(name)
        return Asked(name, "restart")

    async def crash(call: Call) -> Asked:
        tree, name = _named(context, call)
        await tree.crash_service(name)
        return Asked(name, "crash")

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/services",
            name="services",
            summary="The peer's services: state, restarts, problems.",
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


def _shown(tree: ServiceTree) -> list[ServiceAnswer]:
    return [
        ServiceAnswer(each.name, each.state, each.restarts, each.problem)
        for each in tree.services()
    ]


def _named(context: Context, call: Call) -> tuple[ServiceTree, str]:
    name, tree = call.path["name"], context.services
    if tree is None or name not in (each.name for each in tree.services()):
        raise NotFound(f"no service has the name {name[:40]!r}", hint="GET /api/v1/services")
    return tree, name
