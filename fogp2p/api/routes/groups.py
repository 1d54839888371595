"""Groups: conversations that are the same for all who carry them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.node.nickname import nickname
from fogp2p.protocols.log import Delivery, Group, Role
from fogp2p.protocols.log.answers import (
    AdmitRequest,
    CreateRequest,
    Entries,
    EntriesQuery,
    GroupAnswer,
    GroupsAnswer,
    SayRequest,
    Written,
    entries_of,
    group_of,
    groups_of,
)
from fogp2p.supervisor import ServiceDown

__all__ = ["routes"]

# Text in one answer: as JSON it may become six times as much, and clients read 4 MiB.
_MAX_TEXT_BYTES: Final = 512 * 1024
_ID: Final = {"group": "64 hexadecimal digits, as `GET /api/v1/groups` has them."}


def routes(context: Context) -> Sequence[Operation]:
    """Groups, their members, their entries."""
    return (*_groups(context), *_members(context), *_entries(context))


def _name_of(context: Context) -> Callable[[PeerId], str]:
    """What people call a peer: as a contact, or two words."""
    try:
        known = {each.peer: each.name for each in context.node.invites.contacts()}
    except (ServiceDown, ConfigError):
        known = {}
    return lambda peer: known.get(peer) or nickname(peer)


def _id(call: Call) -> bytes:
    text = call.path["group"]
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32 or found.hex() != text:
        raise LocalProtocolError(
            "a group is named by 64 hexadecimal digits", code="log-group", hint="fogp2p group list"
        )
    return found


def _find(context: Context, call: Call) -> Group:
    groups, wanted = context.node.groups.groups, _id(call)
    for group in groups:
        if group.id == wanted:
            return group
    raise NotFound(
        "this group is not carried here", hint="fogp2p group list, or fogp2p group open ID"
    )


def _described(context: Context, group: Group) -> GroupAnswer:
    return group_of(group, _me(context), _name_of(context))


def _me(context: Context) -> PeerId:
    return PeerId.parse(context.node.status().peer_id)


def _peer(text: str) -> PeerId:
    try:
        return PeerId.parse(text)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(str(exc), code="peer-id", hint="fogp2p peers") from exc


def _groups(context: Context) -> Sequence[Operation]:
    async def every(call: Call) -> GroupsAnswer:
        return groups_of(context.node.groups.groups)

    async def create(call: Call) -> GroupAnswer:
        return _described(context, await context.node.groups.create(call.request.name))

    async def one(call: Call) -> GroupAnswer:
        return _described(context, _find(context, call))

    async def open_group(call: Call) -> GroupAnswer:
        return _described(context, await context.node.groups.open(_id(call)))

    async def leave(call: Call) -> Written:
        group = _find(context, call)
        return Written(group.id.hex(), (await group.leave()).hex(), group.last)

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/groups",
            name="groups",
            summary="The groups that are carried here.",
            scope=Scope.READ,
            handler=every,
            answer=GroupsAnswer,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/groups",
            name="create_group",
            summary="Found a group with this peer as its only member.",
            scope=Scope.CONTROL,
            handler=create,
            request=CreateRequest,
            answer=GroupAnswer,
            status=201,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/groups/{{group}}",
            name="group",
            summary="One group with its members and forks.",
            scope=Scope.READ,
            handler=one,
            answer=GroupAnswer,
            parameters=_ID,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/groups/{{group}}/open",
            name="open_group",
            summary="Carry a group, as a member or not; its entries come from peers that carry it.",
            scope=Scope.CONTROL,
            handler=open_group,
            answer=GroupAnswer,
            parameters=_ID,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/groups/{{group}}/leave",
            name="leave_group",
            summary="End this peer's own membership; it still carries the group.",
            scope=Scope.CONTROL,
            handler=leave,
            answer=Written,
            parameters=_ID,
        ),
    )


def _members(context: Context) -> Sequence[Operation]:
    async def admit(call: Call) -> Written:
        asked: AdmitRequest = call.request
        group = _find(context, call)
        role = Role.ADMIT if asked.admin else Role.WRITE
        entry = await group.admit(_peer(asked.peer), role)
        return Written(group.id.hex(), entry.hex(), group.last)

    async def remove(call: Call) -> Written:
        group = _find(context, call)
        entry = await group.remove(_peer(call.path["peer"]))
        return Written(group.id.hex(), entry.hex(), group.last)

    return (
        Operation(
            method="POST",
            path=f"{PREFIX}/groups/{{group}}/members",
            name="admit_member",
            summary="Make a peer a member; it reads what is written from now on.",
            scope=Scope.CONTROL,
            handler=admit,
            request=AdmitRequest,
            answer=Written,
            status=201,
            parameters=_ID,
        ),
        Operation(
            method="DELETE",
            path=f"{PREFIX}/groups/{{group}}/members/{{peer}}",
            name="remove_member",
            summary="End a membership; what it wrote until now stands.",
            scope=Scope.CONTROL,
            handler=remove,
            answer=Written,
            parameters={**_ID, "peer": "A peer id, as the group's answer has it."},
        ),
    )


def _entries(context: Context) -> Sequence[Operation]:
    async def say(call: Call) -> Written:
        group = _find(context, call)
        entry = await group.append(call.request.text.encode("utf-8", "surrogatepass"))
        return Written(group.id.hex(), entry.hex(), group.last)

    async def read(call: Call) -> Entries:
        asked: EntriesQuery = call.query
        group = _find(context, call)
        found: list[Delivery] = []
        with trio.move_on_after(asked.wait_s):
            await group.grown(asked.since)
        if group.last > asked.since:
            size = 0
            for stored in await group.page_after(asked.since):
                found.append(group.delivery(stored))
                size += len(found[-1].text or b"")
                if size > _MAX_TEXT_BYTES:
                    break
        return entries_of(found, _me(context), _name_of(context), asked.since, group.last)

    return (
        Operation(
            method="POST",
            path=f"{PREFIX}/groups/{{group}}/entries",
            name="say",
            summary="Write a message; the answer comes once it would survive a crash.",
            scope=Scope.CONTROL,
            handler=say,
            request=SayRequest,
            answer=Written,
            status=201,
            parameters=_ID,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/groups/{{group}}/entries",
            name="entries",
            summary="Up to 64 entries after a number, causes first; it may wait for some.",
            scope=Scope.READ,
            handler=read,
            query=EntriesQuery,
            answer=Entries,
            parameters=_ID,
        ),
    )
