"""One stream with one peer: every group that both carry.

The reader never waits for the writer: what the peer asks for is noted, within bounds, and worked
off as fast as the peer takes it. So two peers that both have much to send cannot block each other,
and a slow reader costs a bounded queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio

from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import FogError, LimitExceeded, RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Stream
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint

from .conduct import Bucket
from .config import (
    IDLE_BURST,
    IDLE_MESSAGE,
    IDLE_RATE,
    MAX_BATCH,
    MAX_FRAME_BYTES,
    MAX_OUTBOX,
    MAX_OWED,
    QUERY_BURST,
    QUERY_RATE,
    STREAM_TIMEOUT_S,
)
from .entries import Entry, decode_entry, is_signed
from .group import Group
from .messages import (
    Entries,
    Interest,
    LogMessage,
    Query,
    decode_message,
    encode_message,
    interest_tag,
)
from .storage import Storage
from .sync import PeerSync, Push, Say

__all__ = ["Link"]

# So many signatures take 2 ms; more are verified off the loop.
_INLINE_SIGNATURES: Final = 16
# The head of a string of up to 64 KiB, and all of a frame that is no entry.
_STRING_HEAD: Final = 3
_FRAME_HEADROOM: Final = 64


class Link:
    """Made by `Logs` for each stream; `run` lasts as long as the stream."""

    def __init__(
        self,
        stream: Stream,
        own: PeerId,
        groups: Mapping[bytes, Group],
        storage: Storage,
        environment: Environment,
        blame: Callable[[PeerId, float], None],
    ) -> None:
        self.peer: Final = stream.remote_peer
        self.bytes_sent = 0
        self.bytes_received = 0
        self.entries_sent = 0
        self.entries_received = 0
        self._stream = stream
        self._own = own
        self._groups = groups
        self._storage = storage
        self._environment = environment
        self._blame = blame
        self._tags: frozenset[bytes] = frozenset()
        self._syncs: dict[bytes, PeerSync] = {}
        self._out: deque[LogMessage] = deque()
        self._owed: deque[tuple[bytes, deque[bytes]]] = deque()
        self._bucket = Bucket(QUERY_RATE, QUERY_BURST, trio.current_time())
        self._idle = Bucket(IDLE_RATE, IDLE_BURST, trio.current_time())
        self._news = trio.Event()
        self._scope = trio.CancelScope()
        self._failure: FogError | None = None

    # --- what Logs calls -------------------------------------------------------------------------

    async def run(self) -> None:
        """Talk until the stream ends. Raises FogError."""
        self.groups_changed()
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self._until_failure, self._write)
            await self._until_failure(self._read)
        if self._failure is not None:
            raise self._failure

    async def _until_failure(self, part: Callable[[], Awaitable[None]]) -> None:
        """Reader and writer end together; the first failure counts, not what it brings along."""
        try:
            await part()
        except FogError as exc:
            self._fail(exc)
        self._scope.cancel()

    def _fail(self, failure: FogError) -> None:
        self._failure = self._failure or failure
        self._scope.cancel()

    def groups_changed(self) -> None:
        """We carry other groups than before: say so, and begin with those the peer carries."""
        mine = self._own.raw
        self._say(Interest(tuple(sorted(interest_tag(name, mine) for name in self._groups))))
        self._match()

    def tell(self, group: Group) -> None:
        """The group has more than before."""
        sync = self._syncs.get(group.id)
        if sync is not None:
            sync.tell()
            self._drain(group.id, sync)

    def repeat(self) -> None:
        """Tell every frontier again."""
        for name, sync in self._syncs.items():
            sync.repeat()
            self._drain(name, sync)

    def handle_time(self) -> int:
        """Give up what was not answered in time; returns the number of broken promises."""
        broken = 0
        for sync in self._syncs.values():
            sync.handle_time(trio.current_time())
            broken += sync.broken_promises
            sync.broken_promises = 0
        return broken

    def level_with(self, group: bytes) -> bool | None:
        """Whether the peer has what we have; None when it does not carry the group."""
        sync = self._syncs.get(group)
        return sync.is_level if sync is not None else None

    @property
    def queued(self) -> int:
        """Messages and entries that wait for the peer to read."""
        return len(self._out) + sum(len(ids) for _, ids in self._owed)

    # --- receiving -------------------------------------------------------------------------------

    async def _read(self) -> None:
        decoder = FrameDecoder(max_bytes=MAX_FRAME_BYTES)
        while (frame := await read_frame(self._stream, decoder)) is not None:
            self.bytes_received += len(frame)
            await self._take(decode_message(frame))

    async def _take(self, message: LogMessage) -> None:
        now = trio.current_time()
        if isinstance(message, Interest):
            await self._slow_down(IDLE_MESSAGE)
            self._tags = frozenset(message.tags)
            self._match()
            return
        sync = self._syncs.get(message.group)
        if sync is None:
            await self._slow_down(MAX_BATCH)
            return  # not carried by both: perhaps closed a moment ago
        if isinstance(message, Entries):
            await self._take_entries(message, sync)
            now = trio.current_time()
        else:
            await self._slow_down(IDLE_MESSAGE)
            sync.receive(message, now)
            if isinstance(message, Query):
                self._news.set()
        self._drain(message.group, sync)

    async def _take_entries(self, message: Entries, sync: PeerSync) -> None:
        group = self._groups[message.group]
        entries = [decode_entry(data) for data in message.entries]
        self.entries_received += len(entries)
        fresh = [entry for entry in entries if not group.replica.is_known(entry.id)]
        await self._slow_down(len(entries) - len(fresh))
        if len(fresh) > _INLINE_SIGNATURES:
            good = await self._environment.executor.in_thread(_all_signed, fresh)
        else:
            good = _all_signed(fresh)
        if not good:
            raise RemoteProtocolError("an entry's signature is forged", code="log-signature")
        await group.take(fresh)
        idle = sum(entry.id not in group.replica and not sync.expects(entry.id) for entry in fresh)
        if idle:
            self._blame(self.peer, float(idle))  # nobody asked, and nothing led to them
        sync.took(entries, trio.current_time())

    async def _slow_down(self, count: float) -> None:
        """Read more slowly from a peer that says much and brings nothing new."""
        wait_s = self._idle.wait_s(trio.current_time(), count)
        if wait_s > 0:
            await trio.sleep(wait_s)

    # --- sending ---------------------------------------------------------------------------------

    def _match(self) -> None:
        """Begin with groups that both carry now, end with the others."""
        theirs = self.peer.raw
        both = {name for name in self._groups if interest_tag(name, theirs) in self._tags}
        for name in self._syncs.keys() - both:
            del self._syncs[name]
        for name in sorted(both - self._syncs.keys()):
            sync = self._syncs[name] = PeerSync(
                self._groups[name].replica,
                is_asker=self._own < self.peer,
                draw=self._environment.random.randbytes,
            )
            sync.repeat()
            self._drain(name, sync)

    def _drain(self, name: bytes, sync: PeerSync) -> None:
        while sync.actions:
            match sync.actions.popleft():
                case Say(message=message):
                    self._say(message)
                case Push(ids=ids):
                    self._owe(name, ids)

    def _say(self, message: LogMessage) -> None:
        if len(self._out) >= MAX_OUTBOX:
            # Other tasks say things, too: let `run` raise it.
            self._fail(LimitExceeded("the peer does not read what it is sent"))
            return
        self._out.append(message)
        self._news.set()

    def _owe(self, name: bytes, ids: Sequence[bytes]) -> None:
        if sum(len(owed) for _, owed in self._owed) + len(ids) > MAX_OWED:
            raise RemoteProtocolError("wants more than it takes", code="log-flood")
        self._owed.append((name, deque(ids)))
        self._news.set()

    async def _write(self) -> None:
        while True:
            message = await self._next_message()
            if message is None:
                self._news = trio.Event()
                await self._news.wait()
                continue
            frame = encode_frame(encode_message(message), max_bytes=MAX_FRAME_BYTES)
            with deadline_of(within(STREAM_TIMEOUT_S), "sending log entries"):
                await self._stream.write_all(frame)
            if isinstance(message, Entries):
                killpoint("log.push.after")
            self.bytes_sent += len(frame)

    async def _next_message(self) -> LogMessage | None:
        """What goes out next: news, then answers, then a batch of entries; None for nothing."""
        if self._out:
            return self._out.popleft()
        for sync in self._syncs.values():
            reply = sync.answer_next()
            if reply is not None:
                # Whoever asks too much is answered later; there are few places to wait in.
                await trio.sleep(self._bucket.wait_s(trio.current_time()))
                return reply
        while self._owed:
            name, ids = self._owed[0]
            batch = await self._batch(name, ids)
            if not ids:
                self._owed.popleft()
                self._all_pushed(name)
            if batch:
                self.entries_sent += len(batch)
                killpoint("log.push.before")
                return Entries(name, tuple(batch))
        return None

    def _all_pushed(self, name: bytes) -> None:
        sync = self._syncs.get(name)
        if sync is not None and all(other != name for other, _ in self._owed):
            sync.pushed(trio.current_time())
            self._drain(name, sync)

    async def _batch(self, name: bytes, ids: deque[bytes]) -> list[bytes]:
        """As many of the entries owed as fit into a frame; takes them off `ids`."""
        wanted = [ids[n] for n in range(min(MAX_BATCH, len(ids)))]
        found = await self._storage.fetch(name, wanted)
        batch: list[bytes] = []
        size = 0
        for each in wanted:
            data = found.get(each, b"")  # not stored: the peer asked for what we never had
            size += len(data) + _STRING_HEAD
            if size > MAX_FRAME_BYTES - _FRAME_HEADROOM:
                break
            ids.popleft()
            if data:
                batch.append(data)
        return batch


def _all_signed(entries: Sequence[Entry]) -> bool:
    return all(is_signed(entry) for entry in entries)
