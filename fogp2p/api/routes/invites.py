"""Letting others in: invites made here, joins of others' invites, and the contacts they gave."""

from __future__ import annotations

from collections.abc import Sequence

from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.environment import within
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.protocols.invite.answers import (
    ContactsAnswer,
    InviteAnswer,
    InviteRequest,
    InvitesAnswer,
    JoinAnswer,
    JoinRequest,
    OffersAnswer,
    PendingAnswer,
    contacts_of,
    invite_of,
    invites_of,
    join_of,
    offers_of,
    pending_of,
)
from fogp2p.protocols.invite.codes import Kind

__all__ = ["routes"]

# Peers on the LAN answer at once; those that do not have nothing to offer.
_OFFERS_S = 5.0


def routes(context: Context) -> Sequence[Operation]:
    """Invites, joins, what is pending, contacts."""
    return (*_invites(context), *_joins(context), *_contacts(context))


def _invites(context: Context) -> Sequence[Operation]:
    async def make(call: Call) -> InviteAnswer:
        asked: InviteRequest = call.request
        made = await context.node.invites.invite(
            Kind(asked.kind), ttl_s=asked.ttl_s, name=asked.name
        )
        return invite_of(made)

    async def every(call: Call) -> InvitesAnswer:
        return invites_of(context.node.invites.invites())

    async def cancel(call: Call) -> InvitesAnswer:
        await context.node.invites.cancel(call.path["id"])
        return invites_of(context.node.invites.invites())

    return (
        Operation(
            method="POST",
            path=f"{PREFIX}/invites",
            name="invite",
            summary="Make an invite: words to say or a link, used once.",
            scope=Scope.CONTROL,
            handler=make,
            request=InviteRequest,
            answer=InviteAnswer,
            status=201,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/invites",
            name="invites",
            summary="Open invites with their codes, and those that are over for a while.",
            # Codes are secrets: whoever only reads does not get them.
            scope=Scope.CONTROL,
            handler=every,
            answer=InvitesAnswer,
        ),
        Operation(
            method="DELETE",
            path=f"{PREFIX}/invites/{{id}}",
            name="cancel_invite",
            summary="Take back an invite, or give up a join.",
            scope=Scope.CONTROL,
            handler=cancel,
            answer=InvitesAnswer,
            parameters={"id": "As `GET /api/v1/invites` or `GET /api/v1/pending` has it."},
        ),
    )


def _joins(context: Context) -> Sequence[Operation]:
    async def join(call: Call) -> JoinAnswer:
        asked: JoinRequest = call.request
        known = await context.node.invites.join(
            asked.code, deadline=within(asked.timeout_s), name=asked.name
        )
        return join_of(known)

    async def offers(call: Call) -> OffersAnswer:
        return offers_of(await context.node.invites.offers(deadline=within(_OFFERS_S)))

    async def pending(call: Call) -> PendingAnswer:
        invites = context.node.invites
        return pending_of(invites.invites(), invites.pending())

    return (
        Operation(
            method="POST",
            path=f"{PREFIX}/joins",
            name="join",
            summary="Accept an invite. Without an answer in time it goes on behind it.",
            scope=Scope.CONTROL,
            handler=join,
            request=JoinRequest,
            answer=JoinAnswer,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/joins",
            name="offers",
            summary="Open invites on this network; it asks the peers near by.",
            scope=Scope.CONTROL,
            handler=offers,
            answer=OffersAnswer,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/pending",
            name="pending",
            summary="Invites and joins that are not finished.",
            scope=Scope.CONTROL,
            handler=pending,
            answer=PendingAnswer,
        ),
    )


def _contacts(context: Context) -> Sequence[Operation]:
    async def contacts(call: Call) -> ContactsAnswer:
        return contacts_of(context.node.invites.contacts())

    async def forget(call: Call) -> ContactsAnswer:
        try:
            peer = PeerId.parse(call.path["peer"])
        except RemoteProtocolError as exc:
            raise NotFound(str(exc), hint="fogp2p contacts") from exc
        await context.node.invites.forget(peer)
        return contacts_of(context.node.invites.contacts())

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/contacts",
            name="contacts",
            summary="The peers that an invite has verified.",
            scope=Scope.READ,
            handler=contacts,
            answer=ContactsAnswer,
        ),
        Operation(
            method="DELETE",
            path=f"{PREFIX}/contacts/{{peer}}",
            name="forget_contact",
            summary="Forget a contact; the other side is not told.",
            scope=Scope.CONTROL,
            handler=forget,
            answer=ContactsAnswer,
            parameters={"peer": "A peer id, as `GET /api/v1/contacts` has it."},
        ),
    )
