"""What the local API is asked and answers about blobs (docs/reference/api.md)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from fogp2p.errors import LocalProtocolError
from fogp2p.schema import about, named

from .handler import Blobs
from .seal import KEY_BYTES
from .store import Kept
from .transfers import State, Transfer

__all__ = [
    "AddRequest",
    "BlobAnswer",
    "BlobView",
    "BlobsAnswer",
    "BlobsQuery",
    "BlobsSummary",
    "FetchRequest",
    "PinRequest",
    "Removed",
    "SendRequest",
    "Shared",
    "SourceView",
    "TransferAnswer",
    "TransferView",
    "blob_of",
    "blobs_of",
    "key_of_text",
    "key_text",
    "summary_of",
    "transfer_of",
]

_MAX_PATH: Final = 4_096
_WAIT: Final = about("how long to wait for its end; it goes on behind it", minimum=0, maximum=60)


@dataclass(frozen=True, slots=True)
class AddRequest:
    """A file of the owner; only who comes through the socket may name one."""

    path: str = field(metadata=about("an absolute path on the peer's machine", maxLength=_MAX_PATH))
    seal: bool = field(default=False, metadata=about("encrypt it; the key is in the answer"))
    timeout_s: float = field(default=0.0, metadata=_WAIT)


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """From whom, besides those who are connected or announced it."""

    sources: tuple[str, ...] = field(
        default=(), metadata=about("peer ids to ask first", maxItems=8)
    )
    timeout_s: float = field(default=0.0, metadata=_WAIT)


@dataclass(frozen=True, slots=True)
class SendRequest:
    """To whom."""

    peer: str = field(metadata=about("a peer id", maxLength=128))
    name: str = field(
        default="", metadata=about("what to call the file; its own name if empty", maxLength=255)
    )
    timeout_s: float = field(default=0.0, metadata=_WAIT)


@dataclass(frozen=True, slots=True)
class PinRequest:
    """Whether it stays when room is needed."""

    pinned: bool


@dataclass(frozen=True, slots=True)
class BlobsQuery:
    """How many."""

    limit: int = field(default=1_000, metadata=about("at most", minimum=1, maximum=10_000))


@dataclass(frozen=True, slots=True)
class BlobView:
    """A blob that is here, as a whole or in part."""

    cid: str
    name: str = field(metadata=about("as its owner or sender called it; may be empty"))
    size_bytes: int
    chunks: int
    present: int = field(metadata=about("how many of its chunks are here"))
    whole: bool
    pinned: bool = field(metadata=about("it stays when room is needed"))
    used_at: int = field(metadata=about("seconds since 1970 UTC"))
    shared: bool = field(metadata=about("it is announced, also after a restart"))


@named("blob/1")
@dataclass(frozen=True, slots=True)
class BlobAnswer(BlobView):
    """One blob by itself."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """Where chunks came from."""

    peer_id: str
    chunks: int


@dataclass(frozen=True, slots=True)
class TransferView:
    """A transfer under way, or one that is over."""

    id: str
    kind: str = field(metadata=about("add, fetch, send or receive"))
    state: State
    name: str
    cid: str | None = field(metadata=about("null until a file that is added was read"))
    peer_id: str | None = field(metadata=about("to or from whom, for send and receive"))
    size_bytes: int = field(metadata=about("0 while it is not known"))
    done_bytes: int
    rate: float = field(metadata=about("bytes a second"))
    eta_s: float | None
    took_s: float = field(metadata=about("0 while it runs"))
    sources: tuple[SourceView, ...]
    key: str | None = field(
        repr=False, metadata=about("base64url, of a file that was sealed; null in lists")
    )
    code: str = field(metadata=about("the number of the error; empty without one"))
    why: str = field(metadata=about("why it failed"))
    hint: str


@named("transfer/1")
@dataclass(frozen=True, slots=True)
class TransferAnswer(TransferView):
    """One transfer by itself."""


@dataclass(frozen=True, slots=True)
class BlobsSummary:
    """Blobs in numbers."""

    kept: int
    used_bytes: int
    quota_bytes: int
    loose_bytes: int = field(metadata=about("about what could make room: not pinned, not in use"))
    running: int = field(metadata=about("transfers under way"))
    sent_bytes: int = field(metadata=about("of chunks, to other peers, since this one started"))


@named("blobs/1")
@dataclass(frozen=True, slots=True)
class BlobsAnswer:
    """What is kept, the most recently used first, and what is under way."""

    summary: BlobsSummary
    problem: str = field(metadata=about("what of the directory was not usable; may be empty"))
    blobs: tuple[BlobView, ...]
    transfers: tuple[TransferView, ...]


@named("blob-shared/1")
@dataclass(frozen=True, slots=True)
class Shared:
    """It was announced; connected peers can ask for it in any case."""

    cid: str
    announced: int = field(metadata=about("how many peers keep the announcement"))


@named("blob-removed/1")
@dataclass(frozen=True, slots=True)
class Removed:
    """It is gone, and a fetch of it has ended."""

    cid: str
    cancelled: int = field(metadata=about("transfers that ended with it"))


def blob_of(kept: Kept) -> BlobAnswer:
    """The answer for one blob."""
    return BlobAnswer(*_fields(kept))


def _fields(kept: Kept) -> tuple[str, str, int, int, int, bool, bool, int, bool]:
    return (
        str(kept.cid),
        kept.name,
        kept.size,
        kept.chunks,
        kept.present,
        kept.is_whole,
        kept.pinned,
        kept.used_at,
        kept.shared,
    )


def summary_of(blobs: Blobs) -> BlobsSummary:
    """The numbers."""
    store = blobs.store
    return BlobsSummary(
        kept=len(store.blobs()),
        used_bytes=store.used_bytes,
        quota_bytes=store.quota_bytes,
        loose_bytes=min(store.used_bytes, store.loose_bytes),
        running=len(blobs.transfers.running()),
        sent_bytes=blobs.server.sent_bytes,
    )


def blobs_of(blobs: Blobs, most: int) -> BlobsAnswer:
    """The answer for all."""
    return BlobsAnswer(
        summary=summary_of(blobs),
        problem=blobs.store.problem,
        blobs=tuple(BlobView(*_fields(kept)) for kept in blobs.store.blobs()[:most]),
        # Keys are for those who asked for one transfer.
        transfers=tuple(
            replace(_view(each, TransferView), key=None) for each in blobs.transfers.all()
        ),
    )


def transfer_of(transfer: Transfer) -> TransferAnswer:
    """The answer for one transfer."""
    return _view(transfer, TransferAnswer)


_Shape = TypeVar("_Shape", bound=TransferView)


def _view(transfer: Transfer, shape: type[_Shape]) -> _Shape:
    found, error = transfer.measure(), transfer.error
    return shape(
        id=transfer.id,
        kind=transfer.kind,
        state=transfer.state,
        name=transfer.name,
        cid=str(transfer.cid) if transfer.cid is not None else None,
        peer_id=str(transfer.peer) if transfer.peer is not None else None,
        size_bytes=found.size,
        done_bytes=found.done,
        rate=round(transfer.rate, 1),
        eta_s=transfer.eta_s,
        took_s=transfer.took_s,
        sources=_sources(found.sources.items()),
        key=key_text(transfer.key) if transfer.key is not None else None,
        code=error.number if error is not None else "",
        why=str(error) if error is not None else "",
        hint=error.hint if error is not None else "",
    )


def _sources(found: Iterable[tuple[object, int]]) -> tuple[SourceView, ...]:
    return tuple(SourceView(str(peer), chunks) for peer, chunks in found)


def key_text(key: bytes) -> str:
    """A key as it stands behind the CID (specs/blob section 5)."""
    return base64.urlsafe_b64encode(key).decode("ascii").rstrip("=")


def key_of_text(text: str) -> bytes:
    """The reverse. Raises LocalProtocolError("blob-key")."""
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or key_text(key) != text:
        raise LocalProtocolError(
            "the part behind # is not a key", code="blob-key", hint="it has 43 characters"
        )
    return key
