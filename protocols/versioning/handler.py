"""Runs the handshake on each connection, and is the host's gate."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field

import trio

from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import FogError, LimitExceeded, ProtocolRefused, RemoteProtocolError
from fogp2p.events import EventHub, Gap
from fogp2p.host import Connected, Direction, Disconnected, Host, Stream
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId, ProtocolId, Version
from fogp2p.supervision import end_distrusted
from fogp2p.tasks import open_tasks

from .catalogue import Catalogue, libp2p_name
from .config import GATE_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, WARN_DAYS
from .machine import NEED_DATA, PROTOCOL_ID, Agreed, Machine
from .messages import Agreement, Hello

__all__ = ["Versioning", "open_versioning"]

_LOG = logging.getLogger(__name__)
_FOG = "/fog/"
_DAY_S = 86_400


@dataclass(slots=True)
class _Run:
    """The handshake of one connection: under way, agreed, or failed with a reason."""

    number: int
    done: trio.Event = field(default_factory=trio.Event)
    agreement: Agreement | None = None
    hello: Hello | None = None
    why_not: str = "the version handshake is still under way"
    taken: bool = False


@asynccontextmanager
async def open_versioning(
    host: Host, identity: Identity, catalogue: Catalogue, environment: Environment
) -> AsyncIterator[Versioning]:
    """Agree with every peer of `host`, and admit only what was agreed, while the context lasts."""
    async with open_tasks() as nursery:
        versioning = Versioning(host, identity, catalogue, environment, nursery)
        host.set_handler(PROTOCOL_ID, versioning.serve)
        host.set_gate(versioning)
        await nursery.start(versioning.watch)
        try:
            yield versioning
        finally:
            host.set_gate(None)
            host.remove_handler(PROTOCOL_ID)
            nursery.cancel_scope.cancel()


class Versioning:
    """Agreements by peer. Made by `open_versioning`."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        catalogue: Catalogue,
        environment: Environment,
        nursery: trio.Nursery,
    ) -> None:
        self.catalogue = catalogue
        self._host = host
        self._identity = identity
        self._environment = environment
        self._nursery = nursery
        self._runs: dict[PeerId, _Run] = {}
        self._hub: EventHub[PeerId] = EventHub()

    # --- what others ask -------------------------------------------------------------------------

    def agreement(self, peer: PeerId) -> Agreement | None:
        """What was agreed with `peer` on the present connection, or None."""
        run = self._runs.get(peer)
        return run.agreement if run is not None else None

    def agreements(self) -> AbstractContextManager[AsyncIterator[PeerId | Gap]]:
        """Listen to peers with which something is agreed from now on."""
        return self._hub.listen()

    def hello(self, peer: PeerId) -> Hello | None:
        """What `peer` said of itself, once it has."""
        run = self._runs.get(peer)
        return run.hello if run is not None else None

    def why_not(self, peer: PeerId) -> str:
        """Why nothing is agreed with `peer`, for people; empty when something is."""
        run = self._runs.get(peer)
        if run is None:
            return "not connected"
        return "" if run.agreement is not None else run.why_not

    def warnings(self, peer: PeerId) -> tuple[str, ...]:
        """Agreed versions whose support ends soon or has ended, on either side; and notices."""
        run = self._runs.get(peer)
        if run is None or run.agreement is None or run.hello is None:
            return ()
        today = int(self._environment.clock.wall()) // _DAY_S
        found = []
        for name, (version, _) in run.agreement.protocols.items():
            ends = self._end_of(run.hello, name, version)
            if ends and ends - today <= WARN_DAYS:
                when = f"in {ends - today} days" if ends > today else f"{today - ends} days ago"
                found.append(f"{name} {version}: support ends {when}")
        return (*found, *(notice.text for notice in run.hello.notices))

    async def ready(self, peer: PeerId, *, deadline: float) -> Agreement:
        """Wait for the agreement with `peer`, connecting first if need be.

        Raises ProtocolRefused with the reason when there will be none, or as `Host.connect`.
        """
        await self._host.connect(peer, deadline=deadline)
        run = self._run(peer)
        with deadline_of(deadline, f"agreeing on versions with {peer.short}"):
            await run.done.wait()
        if run.agreement is None:
            raise ProtocolRefused(f"nothing is agreed with {peer.short}: {run.why_not}")
        return run.agreement

    def protocol(self, peer: PeerId, name: str) -> ProtocolId:
        """The libp2p protocol that was agreed for `name`. Raises ProtocolRefused."""
        agreement = self.agreement(peer)
        version = agreement.version(name) if agreement is not None else None
        if version is None:
            reason = self.why_not(peer) or f"{peer.short} speaks no common version of it"
            raise ProtocolRefused(f"{name} is not agreed: {reason}")
        return libp2p_name(name, version)

    async def admit(self, peer: PeerId, protocol: ProtocolId, direction: Direction) -> None:
        """The host's gate: fog protocols only in the version that was agreed."""
        if not protocol.startswith(_FOG) or protocol == PROTOCOL_ID:
            return
        run = self._run(peer)
        with trio.move_on_after(GATE_TIMEOUT_S):
            await run.done.wait()
        name, _, _ = protocol[1:].rpartition("/")
        if self.protocol(peer, name) != protocol:
            raise ProtocolRefused(f"another version of {name} was agreed with {peer.short}")

    # --- running it ------------------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start a run for each new connection, and forget it with the connection."""
        with self._host.events() as events:
            for connection in self._host.connections():
                self._begin(connection.peer)
            task_status.started()
            async for event in events:
                match event:
                    case Connected(connection=connection):
                        self._begin(connection.peer)
                    case Disconnected(connection=connection):
                        self._forget(connection.peer, connection.number)
                    case Gap():
                        self._resynchronise()
                    case _:
                        pass

    def _resynchronise(self) -> None:
        """Events were lost: look at the connections themselves."""
        present = {connection.peer: connection.number for connection in self._host.connections()}
        for peer, run in tuple(self._runs.items()):
            if present.get(peer) != run.number:
                self._forget(peer, run.number)
        for peer in present:
            self._begin(peer)

    def _run(self, peer: PeerId) -> _Run:
        """The run of the present connection; events may come a little later than streams."""
        connection = self._host.connection_to(peer)
        if connection is None:
            raise ProtocolRefused(f"{peer.short} is not connected")
        run = self._runs.get(peer)
        if run is None or run.number != connection.number:
            run = self._runs[peer] = _Run(connection.number)
        return run

    def _begin(self, peer: PeerId) -> None:
        if self._host.connection_to(peer) is None:
            return
        run = self._run(peer)
        if not run.taken and self._host.peer_id < peer:
            run.taken = True
            self._nursery.start_soon(self._initiate, peer, run)
        elif not run.taken:
            self._nursery.start_soon(self._await_peer, run)

    async def _await_peer(self, run: _Run) -> None:
        """The other side begins; if it never does, say so."""
        with trio.move_on_after(HANDSHAKE_TIMEOUT_S):
            await run.done.wait()
        if not run.done.is_set() and not run.taken:
            run.why_not = "the peer does not speak /fog/version"
            run.done.set()

    def _forget(self, peer: PeerId, number: int) -> None:
        run = self._runs.get(peer)
        if run is not None and run.number == number:
            del self._runs[peer]
            run.why_not = "not connected"
            run.done.set()

    async def _initiate(self, peer: PeerId, run: _Run) -> None:
        try:
            deadline = within(HANDSHAKE_TIMEOUT_S)
            stream = await self._host.open_stream(peer, [PROTOCOL_ID], deadline=deadline)
            async with stream:
                await self._converse(stream, run)
        except FogError as exc:
            self._failed(run, peer, exc)
            await end_distrusted(exc, peer, self._host.disconnect)  # VER-031

    async def serve(self, stream: Stream) -> None:
        """The responder's side: once for each connection."""
        peer = stream.remote_peer
        run = self._run(peer)
        if run.taken or self._host.peer_id < peer:
            raise LimitExceeded("one version handshake for each connection, begun by one side")
        run.taken = True
        try:
            await self._converse(stream, run)
        except FogError as exc:
            self._failed(run, peer, exc)
            raise  # and the host disconnects where it has to: VER-031

    async def _converse(self, stream: Stream, run: _Run) -> None:
        machine = Machine(
            self.catalogue,
            local=self._host.peer_id,
            remote=stream.remote_peer,
            nonce=self._environment.random.randbytes(32),
            now=trio.current_time(),
            sign=self._identity.sign,
            verify=verify,
        )
        with trio.move_on_after(HANDSHAKE_TIMEOUT_S):
            try:
                await self._exchange(stream, machine, run)
            except RemoteProtocolError:
                # An orderly end lets the peer read our hello and see the reason for itself.
                await stream.aclose()
                raise
        if not run.done.is_set():
            machine.handle_time(trio.current_time() + HANDSHAKE_TIMEOUT_S)

    async def _exchange(self, stream: Stream, machine: Machine, run: _Run) -> None:
        while True:
            # A refusal is sent out before it is raised: the other side wants to know, too.
            try:
                event = machine.next_event()
            finally:
                out = machine.data_to_send()
                if out:
                    await stream.write_all(out)
            run.hello = machine.remote_hello
            if isinstance(event, Agreed):
                run.agreement = event.agreement
                run.done.set()
                self._hub.publish(stream.remote_peer)
                return
            if event == NEED_DATA:
                data = await stream.read_some()
                if data:
                    machine.receive_data(data)
                else:
                    machine.receive_end()

    def _failed(self, run: _Run, peer: PeerId, exc: FogError) -> None:
        run.why_not = str(exc)
        if isinstance(exc, ProtocolRefused):
            run.why_not = "the peer does not speak /fog/version"
        run.done.set()
        level = logging.WARNING if isinstance(exc, RemoteProtocolError) else logging.INFO
        _LOG.log(level, "versions_not_agreed peer=%s reason=%s", peer.short, run.why_not)

    def _end_of(self, hello: Hello, name: str, version: Version) -> int:
        """The earlier of both sides' ends of support, 0 for none."""
        offers = (self.catalogue.protocols[name], hello.protocols[name])
        ends = [
            release.ends_day
            for offer in offers
            for release in offer.releases
            if release.version == version and release.ends_day
        ]
        return min(ends, default=0)
