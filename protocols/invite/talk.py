"""Moves bytes between a stream and a machine of either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fogp2p.addresses import Multiaddr, Scope, believable, scope_of
from fogp2p.environment import Environment, deadline_of
from fogp2p.host import Host, Stream
from fogp2p.ids import PeerId

from .config import CARD_ADDRESSES
from .machine import NEED_DATA, PROTOCOL_ID, Event, Inviter, Joiner, Offered, Refused
from .messages import Contact, Offer, Refusal
from .pake import ENTROPY_BYTES

__all__ = ["ask", "believed", "flush", "next_event", "open_joiner", "reach_of"]


async def next_event(
    stream: Stream, machine: Inviter | Joiner, environment: Environment
) -> Event | None:
    """Send what is due and return what happens next; None once the machine is over.

    Raises as `Inviter.next_event` and as the stream. The caller sets the deadline.
    """
    while True:
        await flush(stream, machine)
        if machine.is_over:
            return None
        if machine.is_heavy:
            event = await environment.executor.in_thread(machine.next_event)
        else:
            event = machine.next_event()
        await flush(stream, machine)
        if not isinstance(event, str):
            return event
        assert event == NEED_DATA
        if machine.is_over:
            return None
        data = await stream.read_some()
        if data:
            machine.receive_data(data)
        else:
            machine.receive_end()


async def flush(stream: Stream, machine: Inviter | Joiner) -> None:
    """Send what is due."""
    out = machine.data_to_send()
    if out:
        await stream.write_all(out)


def reach_of(host: Host, peer: PeerId) -> Scope | None:
    """How far away `peer` is, by its connection; None when that is not known."""
    connection = host.connection_to(peer)
    return scope_of(connection.address) if connection is not None else None


def believed(host: Host, contact: Contact) -> Contact:
    """The contact with those of its addresses that we may dial: it must not aim us elsewhere."""
    source = reach_of(host, contact.peer) or Scope.PUBLIC
    addresses = believable(contact.addresses, source=source, limit=CARD_ADDRESSES)
    return replace(contact, addresses=addresses)


async def open_joiner(
    host: Host,
    peer: PeerId,
    addresses: Sequence[Multiaddr],
    environment: Environment,
    *,
    nameplate: int,
    password: bytes | None,
    deadline: float,
) -> tuple[Stream, Joiner]:
    """A stream to `peer` and the joiner's machine for it. Raises as `Host.open_stream`."""
    await host.connect(peer, addresses, deadline=deadline)
    stream = await host.open_stream(peer, [PROTOCOL_ID], deadline=deadline)
    machine = Joiner(
        local=host.peer_id,
        remote=peer,
        entropy=environment.random.randbytes(ENTROPY_BYTES),
        nameplate=nameplate,
        password=password,
    )
    return stream, machine


async def ask(
    host: Host,
    peer: PeerId,
    addresses: Sequence[Multiaddr],
    environment: Environment,
    *,
    nameplate: int,
    deadline: float,
) -> Offer | Refusal:
    """What `peer` offers under `nameplate` (0: all), or why it does not.

    Raises RemoteProtocolError, or as `Host.open_stream`.
    """
    stream, machine = await open_joiner(
        host,
        peer,
        addresses,
        environment,
        nameplate=nameplate,
        password=None,
        deadline=deadline,
    )
    async with stream:
        with deadline_of(deadline, f"asking {peer.short} for invites"):
            event = await next_event(stream, machine, environment)
            assert isinstance(event, (Offered, Refused)), "what follows a hello"
            return event.offer if isinstance(event, Offered) else event.refusal
