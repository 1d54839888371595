"""What peers say of themselves, signed, and what was noticed about those who pass it on."""

from __future__ import annotations

from collections.abc import Sequence

from fogp2p.api.context import Context
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.protocols.registry.answers import RegistryAnswer, registry_answer

__all__ = ["routes"]


def routes(context: Context) -> Sequence[Operation]:
    """The registry."""

    async def registry(call: Call) -> RegistryAnswer:
        return registry_answer(context.node.registry)

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/registry",
            name="registry",
            summary="Our own descriptor, those of others, mirrors, and alarms.",
            scope=Scope.READ,
            handler=registry,
            answer=RegistryAnswer,
        ),
    )
