"""The doctor, asked through the peer: the same checks as `fogp2p doctor`, off the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.doctor import Diagnosis, PeerView, diagnose, look
from fogp2p.node import Services
from fogp2p.paths import Paths
from fogp2p.schema import answer

__all__ = ["routes"]


def routes(context: Context) -> Sequence[Operation]:
    """The diagnosis."""

    async def doctor(call: Call) -> Diagnosis:
        if context.paths is None:
            raise NotFound("this peer keeps no files", hint="fogp2p doctor")
        node = context.node
        services = answer(Services(node.services(), node.service_groups()))["services"]
        view = PeerView(answer(node.status()), services)
        flags = context.config_file.flags if context.config_file is not None else ()
        environ = context.config_file.environ if context.config_file is not None else {}
        return await node.environment.executor.in_thread(
            _diagnose, context.paths, view, environ, flags
        )

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/doctor",
            name="doctor",
            summary="Look for faults of this machine and this peer. Takes some seconds.",
            scope=Scope.READ,
            handler=doctor,
            answer=Diagnosis,
            errors=(NotFound,),
        ),
    )


def _diagnose(
    paths: Paths, view: PeerView, environ: Mapping[str, str], flags: Sequence[str]
) -> Diagnosis:
    return diagnose(look(paths, peer=view, environ=environ, flags=flags))
