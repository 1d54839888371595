"""The last chapter of the demo: a group conversation through a kill and a silence, then files."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from fogp2p.limits import MIB
from fogp2p.tasks import open_tasks

from .peers import LocalPeer
from .stage import Stage

__all__ = ["Conversation"]

_TIMEOUT_S: Final = 40.0
# Long enough on the way that a source can be killed before it is there.
_LARGE_BYTES: Final = 48 * MIB
_MESSAGES: Final = 3


class Conversation:
    """The same history for everybody, and a file whose source dies on the way."""

    title = "A group talks while one is killed and one is silent; then files travel"

    async def run(self, stage: Stage) -> None:
        """Talk, break, heal, compare; send a file; fetch one whose first source is killed."""
        await self._talk(stage)
        await self._send(stage)
        await self._lose_a_source(stage)

    # --- the group -------------------------------------------------------------------------------

    async def _talk(self, stage: Stage) -> None:
        peers = stage.peers
        founder, killed, silent = peers[0], peers[1], peers[2]
        group = await self._gather(stage)
        said: list[str] = []

        async def say(peer: LocalPeer, text: str) -> None:
            await peer.post(f"groups/{group}/entries", {"text": text})
            said.append(text)

        async with open_tasks() as tasks:  # all at the same time: nobody has seen the others'
            for peer in peers:
                tasks.start_soon(say, peer, f"{peer.name} is here")
        stage.say(
            f"  {killed.name} says a last word and is killed (-9) once it is acknowledged; "
            f"{silent.name} is frozen (SIGSTOP): it neither hears nor answers"
        )
        await say(killed, f"the last word of {killed.name}")
        await killed.kill()
        silent.freeze()
        try:
            for number in range(_MESSAGES):
                for peer in peers:
                    if peer not in (killed, silent):
                        await say(peer, f"{peer.name}, {number}")
        finally:
            silent.thaw()
        await killed.start()
        for peer in (killed, silent):
            await say(peer, f"{peer.name} is back")
        views: list[list[dict[str, Any]]] = []

        async def level() -> bool:
            views[:] = [await _history(peer, group) for peer in peers]
            return all(_texts(view) == sorted(said) for view in views)

        took = await stage.until(level, timeout_s=_TIMEOUT_S)
        stage.check(
            "everything said is with everybody, the killed one's last word too",
            took is not None,
            f"{len(said)} messages, {min(map(len, views))} entries at each of {len(peers)}"
            + (f", {took:.1f} s after both were back" if took is not None else ""),
        )
        stage.check(
            "causes come before effects, at every peer",
            all(map(_is_causal, views)),
            f"{sum(len(each['after']) for view in views for each in view)} links looked at",
        )
        prints = {_print(view) for view in views}
        stage.check(
            "all show one history",
            len(prints) == 1,
            f"SHA-256 {min(prints)[:16]} of authors, texts and order, computed from each",
        )
        stage.say(f"  as {founder.name} shows the end of it:")
        for each in _ordered(views[0])[-4:]:
            stage.say(f"    {stage.name_of(each['author'])}: {each['text']}")

    async def _gather(self, stage: Stage) -> str:
        """A group with everybody in it; its id."""
        founder, *others = stage.peers
        group = (await founder.post("groups", {"name": "demo"}))["id"]
        for peer in others:
            await founder.post(f"groups/{group}/members", {"peer": peer.peer_id})
            await peer.post(f"groups/{group}/open")

        async def all_in() -> bool:
            found = [await peer.get(f"groups/{group}") for peer in stage.peers]
            return all(each["members"] == len(found) and each["is_member"] for each in found)

        took = await stage.until(all_in, timeout_s=_TIMEOUT_S)
        stage.check(
            "all are members of one group",
            took is not None,
            f"{len(stage.peers)} members, as each says" if took is not None else "not in time",
        )
        return str(group)

    # --- files -----------------------------------------------------------------------------------

    async def _send(self, stage: Stage) -> None:
        first, last = stage.peers[0], stage.peers[-1]
        path = stage.file or _readme(first.home)
        transfer = await _whole(first, "blobs", {"path": str(path.absolute())})
        cid, size = transfer["cid"], transfer["size_bytes"]
        sent = await _whole(first, f"blobs/{cid}/send", {"peer": last.peer_id})
        theirs = await last.sha256(f"blobs/{cid}/content") if sent["state"] == "done" else ""
        ours = await trio.to_thread.run_sync(_hash, path)
        stage.check(
            f"a file goes from {first.name} to {last.name}",
            ours == theirs,
            f"{path.name}, {size} bytes, SHA-256 {ours[:16]} at both ends",
        )

    async def _lose_a_source(self, stage: Stage) -> None:
        first, second, last = stage.peers[0], stage.peers[1], stage.peers[-1]
        path = stage.file
        if path is None or path.stat().st_size < _LARGE_BYTES:
            path = first.home / "noise.bin"
            await trio.to_thread.run_sync(_make_noise, path)
            stage.say(
                f"  too small to lose a source on the way; so {_LARGE_BYTES // MIB} MiB of noise "
                "travel as well"
            )
        cid = (await _whole(first, "blobs", {"path": str(path.absolute())}))["cid"]
        await _whole(second, f"blobs/{cid}/fetch", {"sources": [first.peer_id]})
        asked = {"sources": [first.peer_id, second.peer_id]}
        transfer = await last.post(f"blobs/{cid}/fetch", asked)
        seen = transfer
        while seen["state"] == "running" and 4 * seen["done_bytes"] < max(1, seen["size_bytes"]):
            seen = await last.get(f"transfers/{transfer['id']}")
        await first.kill()
        stage.say(
            f"  kill -9 of {first.name} when {last.name} has {seen['done_bytes'] // MIB} of "
            f"{seen['size_bytes'] // MIB} MiB from both"
        )
        done = await _ended(last, transfer)
        theirs = await last.sha256(f"blobs/{cid}/content") if done["state"] == "done" else ""
        ours = await trio.to_thread.run_sync(_hash, path)
        shares = {stage.name_of(each["peer_id"]): each["chunks"] for each in done["sources"]}
        stage.check(
            "a file arrives although the first of two sources is killed on the way",
            ours == theirs and len(shares) == 2 and seen["state"] == "running",
            f"{done['size_bytes']} bytes at {done['rate'] / MIB:.0f} MiB/s, SHA-256 {ours[:16]} at "
            "the receiver, " + ", ".join(f"{n} chunks of {who}" for who, n in shares.items()),
        )
        await first.start()


async def _history(peer: LocalPeer, group: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more, last = True, 0
    while more:
        page = await peer.get(f"groups/{group}/entries?since={last}")
        found += page["entries"]
        more, last = page["more"], page["last"]
    return found


def _texts(view: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(each["text"] for each in view if each["text"] is not None)


def _ordered(view: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages in the one order that all peers have."""
    messages = [each for each in view if each["kind"] == "message"]
    return sorted(messages, key=lambda each: (each["height"], each["id"]))


def _is_causal(view: Sequence[dict[str, Any]]) -> bool:
    seen: set[str] = set()
    for each in view:
        if not seen.issuperset(each["after"]):
            return False
        seen.add(each["id"])
    return True


def _print(view: Sequence[dict[str, Any]]) -> str:
    text = "\n".join(f"{each['author']} {each['text']}" for each in _ordered(view))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


async def _whole(peer: LocalPeer, route: str, fields: dict[str, Any]) -> dict[str, Any]:
    return await _ended(peer, await peer.post(route, {**fields, "timeout_s": 20.0}))


async def _ended(peer: LocalPeer, transfer: dict[str, Any]) -> dict[str, Any]:
    with trio.move_on_after(_TIMEOUT_S):
        while transfer["state"] == "running":
            transfer = await peer.get(f"transfers/{transfer['id']}")
    return transfer


def _readme(folder: Path) -> Path:
    """This project's README, as its installed package carries it."""
    path = folder / "README.md"
    text = importlib.metadata.metadata("fogp2p").json["description"]
    path.write_text(str(text), "utf-8")
    return path


def _make_noise(path: Path) -> None:
    """Bytes that no chunk shares with another: SHAKE-256 of a name."""
    path.write_bytes(hashlib.shake_256(b"fogp2p demo").digest(_LARGE_BYTES))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
