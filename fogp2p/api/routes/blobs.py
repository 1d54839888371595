"""Files by their content: kept here, fetched, shared, sent; and the transfers under way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from fogp2p.api.context import Context
from fogp2p.api.errors import NotFound, OutOfScope
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.environment import within
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.protocols.blob import KEY_BYTES, Blobs, BlobStore, Cid, State, Transfer, UnknownBlob
from fogp2p.protocols.blob.answers import (
    AddRequest,
    BlobAnswer,
    BlobsAnswer,
    BlobsQuery,
    FetchRequest,
    PinRequest,
    Removed,
    SendRequest,
    Shared,
    TransferAnswer,
    blob_of,
    blobs_of,
    transfer_of,
)

__all__ = ["routes"]

# Finding the peer of a send, and telling the DHT of a blob.
_REACH_S: Final = 20.0
_CID: Final = {"cid": "The name of a blob: 59 characters that begin with bafirei."}


def routes(context: Context) -> Sequence[Operation]:
    """Blobs and transfers."""
    return (*_kept(context), *_moving(context), *_transfers(context))


def _cid(call: Call) -> Cid:
    try:
        return Cid.parse(call.path["cid"])
    except RemoteProtocolError as exc:  # typed here, not sent by a peer
        raise LocalProtocolError(str(exc), code=exc.code, hint=exc.hint) from exc


def _peer(text: str) -> PeerId:
    try:
        return PeerId.parse(text)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(str(exc), code="peer-id", hint="fogp2p peers") from exc


async def _waited(transfer: Transfer, timeout_s: float) -> TransferAnswer:
    with trio.move_on_after(timeout_s):
        await transfer.over.wait()
    return transfer_of(transfer)


def _kept(context: Context) -> Sequence[Operation]:
    def found(call: Call) -> BlobAnswer:
        store, cid = context.node.blobs.store, _cid(call)
        kept = store.find(cid)
        if kept is None:
            raise UnknownBlob(f"{cid} is not here", hint=f"fogp2p get {cid}")
        return blob_of(kept)

    async def every(call: Call) -> BlobsAnswer:
        return blobs_of(context.node.blobs, call.query.limit)

    async def one(call: Call) -> BlobAnswer:
        return found(call)

    async def pin(call: Call) -> BlobAnswer:
        await context.node.blobs.store.pin(_cid(call), call.request.pinned)
        return found(call)

    async def remove(call: Call) -> Removed:
        blobs, cid = context.node.blobs, _cid(call)
        ended = await _end_transfers(blobs, cid)
        if blobs.store.find(cid) is not None or not ended:
            await blobs.store.remove(cid)
        return Removed(str(cid), ended)

    async def content(call: Call) -> _Content:
        blob = found(call)
        if not blob.whole:
            raise UnknownBlob(f"{blob.cid} is not here as a whole", hint=f"fogp2p get {blob.cid}")
        return _Content(context.node.blobs.store, _cid(call), blob.chunks, blob.size_bytes)

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/blobs",
            name="blobs",
            summary="What is kept, what it takes of the quota, and the transfers.",
            scope=Scope.READ,
            handler=every,
            query=BlobsQuery,
            answer=BlobsAnswer,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/blobs/{{cid}}",
            name="blob",
            summary="One blob that is here, as a whole or in part.",
            scope=Scope.READ,
            handler=one,
            answer=BlobAnswer,
            parameters=_CID,
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/blobs/{{cid}}/content",
            name="blob_content",
            summary="Its content, each part checked; a sealed one stays sealed.",
            scope=Scope.READ,
            handler=content,
            media="application/octet-stream",
            parameters=_CID,
        ),
        Operation(
            method="PATCH",
            path=f"{PREFIX}/blobs/{{cid}}",
            name="pin_blob",
            summary="Keep it when room is needed, or no longer.",
            scope=Scope.CONTROL,
            handler=pin,
            request=PinRequest,
            answer=BlobAnswer,
            parameters=_CID,
        ),
        Operation(
            method="DELETE",
            path=f"{PREFIX}/blobs/{{cid}}",
            name="remove_blob",
            summary="Remove it here, and end a fetch of it; other peers keep theirs.",
            scope=Scope.CONTROL,
            handler=remove,
            answer=Removed,
            parameters=_CID,
        ),
    )


async def _end_transfers(blobs: Blobs, cid: Cid) -> int:
    ended = 0
    for each in blobs.transfers.running():
        if each.cid == cid and each.kind in ("fetch", "receive"):
            blobs.transfers.cancel(each)
            await each.over.wait()
            ended += 1
    return ended


def _moving(context: Context) -> Sequence[Operation]:
    async def add(call: Call) -> TransferAnswer:
        asked: AddRequest = call.request
        blobs = context.node.blobs
        if call.caller.via != "socket":
            # A token is for programs and pages; it must not become a way to read any file.
            raise OutOfScope(
                "files are added through the peer's socket only",
                hint="use fogp2p share, or the socket named by `fogp2p config where`",
            )
        path = Path(asked.path)
        if not path.is_absolute() or "\0" in asked.path:
            raise LocalProtocolError("name the file by an absolute path", code="blob-path")
        key = context.node.environment.random.randbytes(KEY_BYTES) if asked.seal else None
        return await _waited(blobs.start_add(path, key=key), asked.timeout_s)

    async def fetch(call: Call) -> TransferAnswer:
        asked: FetchRequest = call.request
        sources = [_peer(each) for each in asked.sources]
        transfer = context.node.blobs.start_fetch(_cid(call), sources)
        return await _waited(transfer, asked.timeout_s)

    async def send(call: Call) -> TransferAnswer:
        asked: SendRequest = call.request
        blobs, peer = context.node.blobs, _peer(asked.peer)
        await context.node.reach(peer, deadline=within(_REACH_S))
        transfer = blobs.start_send(peer, _cid(call), name=asked.name)
        return await _waited(transfer, asked.timeout_s)

    async def share(call: Call) -> Shared:
        blobs, cid = context.node.blobs, _cid(call)
        kept = blobs.store.find(cid)
        if kept is None or not kept.is_whole:
            raise UnknownBlob(f"{cid} is not here as a whole", hint=f"fogp2p get {cid}")
        return Shared(str(cid), await blobs.share(cid, deadline=within(_REACH_S)))

    return (
        Operation(
            method="POST",
            path=f"{PREFIX}/blobs",
            name="add_blob",
            summary="Put in a file of the owner, named by its path; through the socket only.",
            scope=Scope.ADMIN,
            handler=add,
            request=AddRequest,
            answer=TransferAnswer,
            status=202,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/blobs/{{cid}}/fetch",
            name="fetch_blob",
            summary="Fetch what is missing of it; for a day, also when nobody has it now.",
            scope=Scope.CONTROL,
            handler=fetch,
            request=FetchRequest,
            answer=TransferAnswer,
            status=202,
            parameters=_CID,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/blobs/{{cid}}/send",
            name="send_blob",
            summary="Send it to a peer; done when that peer says that it has all of it.",
            scope=Scope.CONTROL,
            handler=send,
            request=SendRequest,
            answer=TransferAnswer,
            status=202,
            parameters=_CID,
        ),
        Operation(
            method="POST",
            path=f"{PREFIX}/blobs/{{cid}}/share",
            name="share_blob",
            summary="Announce it to the DHT.",
            scope=Scope.CONTROL,
            handler=share,
            answer=Shared,
            parameters=_CID,
        ),
    )


def _transfers(context: Context) -> Sequence[Operation]:
    def found(call: Call) -> Transfer:
        transfer = context.node.blobs.transfers.find(call.path["id"])
        if transfer is None:
            raise NotFound("there is no such transfer", hint="fogp2p blobs")
        return transfer

    async def one(call: Call) -> TransferAnswer:
        return transfer_of(found(call))

    async def cancel(call: Call) -> TransferAnswer:
        transfer = found(call)
        if transfer.state is State.RUNNING:
            context.node.blobs.transfers.cancel(transfer)
            await transfer.over.wait()
        return transfer_of(transfer)

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/transfers/{{id}}",
            name="transfer",
            summary="How far a transfer is, how fast, and how it ended.",
            # It has the key of a file that was sealed.
            scope=Scope.CONTROL,
            handler=one,
            answer=TransferAnswer,
            parameters={"id": "As the answer that began it has it."},
        ),
        Operation(
            method="DELETE",
            path=f"{PREFIX}/transfers/{{id}}",
            name="cancel_transfer",
            summary="End a transfer; what arrived stays.",
            scope=Scope.CONTROL,
            handler=cancel,
            answer=TransferAnswer,
            parameters={"id": "As `GET /api/v1/blobs` has it."},
        ),
    )


class _Content:
    """A blob chunk by chunk: 256 KiB in memory, whatever its size."""

    def __init__(self, store: BlobStore, cid: Cid, chunks: int, size: int) -> None:
        self._store = store
        self._cid = cid
        self._chunks = chunks
        self._size = size

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % self._size),
            # Whatever it is, it is no page of ours.
            (b"content-disposition", b"attachment"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with self._store.using(self._cid):
            for index in range(self._chunks if scope["method"] != "HEAD" else 0):
                chunk = await self._store.chunk(self._cid, index)
                if chunk is None:  # spoilt on the disk: the length tells that the end is missing
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
