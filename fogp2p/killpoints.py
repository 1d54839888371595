"""Named places where a test ends the process, to see what is on disk afterwards.

Nothing arms them from outside: there is no variable, no option and no file. A test starts a child
that calls `arm` itself before it runs the code under test. Whoever can call a function in this
process needs no kill point to end it. Unarmed, a call costs one comparison with None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

__all__ = ["KILLPOINTS", "arm", "killpoint"]

KILLPOINTS: Final[Mapping[str, str]] = {
    "disk.replace.made": "the new content has a file under a passing name, empty",
    "disk.replace.written": "it is whole there",
    "disk.replace.renamed": "it has its final name, which a power cut may still undo",
    "disk.replace.done": "it is durable, nobody knows",
    "lock.opened": "the lock's file is there, nobody holds it",
    "lock.held": "it is ours, and names who held it before",
    "lock.emptied": "it names nobody",
    "lock.named": "it names us",
    "keystore.save.before": "new keys are made, the file has the old ones or is not there",
    "keystore.save.after": "they are in the file, nobody knows",
    "registry.reserve.before": "the numbers reserved are used up, no new one is given",
    "registry.reserve.after": "more are reserved in the file, none of them is given",
    "registry.taken": "a number is given, its descriptor not made",
    "registry.aside.kept": "a damaged file has a copy beside it",
    "registry.aside.removed": "there is only the copy, nobody knows",
    "config.kept": "what the settings were is under a passing name, the file is as it was",
    "config.replaced": "the file is changed, what is kept as the one before is not",
    "config.turned": "that is what the file was, the passing name is still there",
    "config.done": "it is gone, nobody knows",
    "draft.made": "there is a draft of the settings, no editor has it",
    "draft.placed": "the settings are what it says, it is still there",
    "invites.save.before": "an invite, join or contact is changed in memory, the file is as it was",
    "invites.aside.kept": "a damaged file has a copy beside it",
    "invites.aside.removed": "there is only the copy, nobody knows",
    "invite.made": "a new invite is in the file, its owner has no code yet",
    "invite.guessed": "a wrong guess is counted in the file, who guessed has no answer",
    "invite.claimed": "the invite is the joiner's in the file, it has no proof of ours",
    "invite.stored": "the joiner is a contact in the file, and does not know",
    "invite.verified": "the invite's secret has left the file, nobody is told",
    "invite.cancelled": "an invite or join is over in the file, its owner does not know",
    "invite.expired": "the same, because its time is up",
    "join.kept": "a code that was typed is in the file, nobody is asked yet",
    "join.begun": "that it gives its inviter a guess is counted in the file, it is not given",
    "join.accepted": "the inviter is proven in the file, it has no contact of ours",
    "join.done": "the inviter is a contact in the file, and does not know",
    "join.dropped": "a code that was wrong has left the file, who typed it does not know",
    "contact.forgotten": "a contact has left the file, its owner does not know",
    "log.group.kept": "a group somebody told us of is in the store, none of its entries",
    "log.signed": "an entry of ours is signed, and nowhere",
    "log.placed": "entries have their numbers in memory, the store has none of them",
    "log.stored": "they are durable, nobody knows",
    "log.shown": "programs here may read them, no peer has heard of them",
    "log.admitted": "a member's admission stands, the key is still the one from before",
    "log.removed": "a member's removal stands, the key is still the one from before",
    "log.epoch": "a new key is stored, what it was made for is not written",
    "log.mark.before": "a program has dealt with entries, its mark does not say so",
    "log.mark.after": "the mark is durable, the program does not know",
    "log.push.before": "stored entries are read for a peer, none of them is sent",
    "log.push.after": "they are sent, the peer may have them",
    "api.bound": "the API's socket has a name, nobody listens there",
    "api.token.removed": "the token file of the process before is gone, there is no new one",
    "api.token.written": "the new one is there, nobody serves yet",
    "get.written": "a fetched file is whole and checked under a passing name",
    "get.named": "it has its final name, and the passing one too",
    "sandbox.compiled": "compiled code is whole under a passing name",
    "sandbox.kept": "it has its final name, nobody knows",
    "runner.recorded": "the digest of a new Python runner is recorded, the runner is not in place",
    "runner.placed": "it is, nobody knows",
    "gossip.reserve.before": "a life's first number is chosen, the file does not reserve it",
    "gossip.reserve.after": "it does, no message has it",
    "known.aside.kept": "a damaged file has a copy beside it",
    "known.aside.removed": "there is only the copy, nobody knows",
    "store.open.locked": "the lock is held, no file is open",
    "store.open.connected": "the file is open, nothing is read",
    "store.open.checked": "an old file passed its checks",
    "store.open.ready": "everything is checked and migrated, nobody has the store yet",
    "store.migrate.begin": "the migration's transaction has begun",
    "store.migrate.copied": "the copy from before the migration is whole under a passing name",
    "store.migrate.kept": "that copy has its final name",
    "store.migrate.statement": "one statement of a migration has run",
    "store.migrate.commit.before": "all migrations have run",
    "store.migrate.commit.after": "they are durable",
    "store.write.before": "a write was taken from the queue",
    "store.write.after": "it has changed pages in memory",
    "store.write.undone": "one write of the group failed and was undone",
    "store.commit.before": "the whole group is applied",
    "store.commit.after": "it is durable, nobody knows",
    "store.mark.after": "the mark says so",
    "store.ack.before": "the answers are about to be given",
    "store.ack.after": "they are given",
    "store.checkpoint.before": "the log is long enough to be moved into the file",
    "store.checkpoint.after": "it was moved",
    "store.close.before": "nobody writes any more",
    "store.close.checkpointed": "the log was moved into the file",
    "store.close.after": "the file is closed, the lock held",
    "journal.append.before": "nothing is read for the entry",
    "journal.evicted": "old entries made room",
    "journal.inserted": "the entry stands, the totals do not count it",
    "journal.counted": "the totals count it",
    "journal.done": "an entry is marked done",
    "journal.trimmed": "entries were removed",
    "outbox.publish.before": "an acknowledged entry is about to be published",
    "outbox.publish.after": "it is published, the store does not know",
    "outbox.done.after": "the store knows durably",
    "blob.manifest.written": "the manifest is there, the index does not name the blob",
    "blob.index.with": "the index names the blob, no chunk of it is there",
    "blob.content.written": "chunks are written, their bits are not set",
    "blob.have.written": "the bits are set, nobody was told",
    "blob.index.without": "the index does not name the blob any more, its files are there",
    "backup.copied": "the copy of the store is whole under a passing name",
    "backup.written": "the backup is whole under a passing name",
    "backup.done": "it has its final name",
    "restore.unpacked": "the parts are whole under passing names",
    "restore.checked": "and they are what they should be",
    "restore.marked": "the mark of an unfinished restore is set",
    "restore.aside": "one old file has its second name",
    "restore.placed": "one new file is in its place",
    "restore.done": "all are, and the mark is gone",
}
"""Every name -> what is true there."""

_armed: Callable[[str], None] | None = None


def killpoint(name: str) -> None:
    """Here a test may end the process."""
    if _armed is not None:
        _armed(name)


@contextmanager
def arm(name: str, action: Callable[[], None], *, skip: int = 0) -> Iterator[None]:
    """For tests: do `action` at the place, after passing it `skip` times.

    KeyError for a name that is not in `KILLPOINTS`; also when a place that is not there is passed.
    """
    global _armed
    KILLPOINTS[name]
    left = skip

    def passed(here: str) -> None:
        nonlocal left
        KILLPOINTS[here]
        if here == name:
            left -= 1
            if left < 0:
                action()

    _armed = passed
    try:
        yield
    finally:
        _armed = None
