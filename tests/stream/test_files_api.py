"""The API's routes for blobs and groups against rooms in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fogp2p.environment import real_environment
from fogp2p.identity import ephemeral
from fogp2p.protocols.blob import CHUNK_BYTES, Blobs, open_blobs
from fogp2p.protocols.blob.answers import BlobsAnswer, TransferAnswer
from fogp2p.protocols.log import Logs, MemoryStorage, open_logs
from fogp2p.schema import json_schema
from fogp2p.testing.api import ADA, Doors, StandInNode, ask
from fogp2p.transports.memory import MemoryNetwork


class RoomsNode(StandInNode):
    """A stand-in with real blobs and groups."""

    rooms: tuple[Blobs, Logs]

    @property
    def blobs(self) -> Blobs:
        return self.rooms[0]

    @property
    def groups(self) -> Logs:
        return self.rooms[1]


@asynccontextmanager
async def _doors(tmp_path: Path) -> AsyncIterator[Doors]:
    environment = real_environment()
    keys = ephemeral(random.Random(1))
    async with (
        MemoryNetwork(seed=1).open_host(keys) as host,
        open_blobs(host, [], environment, tmp_path / "blobs") as blobs,
        open_logs(host, keys, MemoryStorage(), environment) as logs,
    ):
        doors = Doors(environment)
        node = RoomsNode(environment)
        node.rooms = (blobs, logs)
        doors.context.node = node
        yield doors


async def _json(doors: Doors, method: str, path: str, body: Any = b"", status: int = 200) -> Any:
    found = await ask(doors.socket, method, f"/api/v1/{path}", body=body)
    assert found.status == status, found.body
    return found.json


@pytest.mark.attack(137)
async def test_a_path_comes_through_the_socket_only_and_keys_need_control(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"of the owner")
    asked = {"path": str(tmp_path / "secret"), "seal": True, "timeout_s": 5.0}
    async with _doors(tmp_path) as doors:

        async def by_token(scope: str, method: str, path: str, body: Any = b"") -> int:
            headers = [("authorization", f"Bearer {doors.token(scope)}")]
            found = await ask(
                doors.tcp,
                method,
                f"/api/v1/{path}",
                host="127.0.0.1:7461",
                headers=headers,
                body=body,
            )
            assert b"key" not in found.body or b'"key":null' in found.body or scope != "read"
            return found.status

        for scope in ("read", "control", "admin"):
            assert await by_token(scope, "POST", "blobs", asked) == 403
        assert doors.context.node.blobs.store.blobs() == ()
        made = await _json(doors, "POST", "blobs", asked, 202)
        assert made["state"] == "done" and len(made["key"]) == 43
        assert await by_token("read", "GET", f"transfers/{made['id']}") == 403
        assert await by_token("read", "GET", "blobs") == 200
        assert await by_token("control", "GET", f"transfers/{made['id']}") == 200
        for path in ("secret", "a\0b", ""):
            await _json(doors, "POST", "blobs", {"path": path}, 400)


async def test_a_file_is_added_read_pinned_and_removed(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(2 * CHUNK_BYTES + 7)
    (tmp_path / "a.bin").write_bytes(content)
    async with _doors(tmp_path) as doors:
        made = await _json(
            doors, "POST", "blobs", {"path": str(tmp_path / "a.bin"), "timeout_s": 5.0}, 202
        )
        jsonschema.validate(made, json_schema(TransferAnswer, closed=True))
        cid = made["cid"]
        listed = await _json(doors, "GET", "blobs")
        jsonschema.validate(listed, json_schema(BlobsAnswer, closed=True))
        assert [each["name"] for each in listed["blobs"]] == ["a.bin"]
        found = await ask(doors.socket, "GET", f"/api/v1/blobs/{cid}/content")
        assert found.body == content and found.headers["content-length"] == str(len(content))
        assert found.headers["content-disposition"] == "attachment"
        unpinned = await _json(doors, "PATCH", f"blobs/{cid}", {"pinned": False})
        assert not unpinned["pinned"]
        assert (await _json(doors, "POST", f"blobs/{cid}/share"))["announced"] == 0
        # A chunk that is spoilt on the disk: the content ends early, and its length says so.
        with (tmp_path / "blobs" / "contents" / cid).open("r+b") as file:
            file.seek(CHUNK_BYTES)
            file.write(b"rot")
        short = await ask(doors.socket, "GET", f"/api/v1/blobs/{cid}/content")
        assert short.body == content[:CHUNK_BYTES]
        await _json(doors, "GET", f"blobs/{cid}/content", status=404)
        assert (await _json(doors, "DELETE", f"blobs/{cid}"))["cancelled"] == 0
        for method, path in (
            ("GET", f"blobs/{cid}"),
            ("DELETE", f"blobs/{cid}"),
            ("POST", f"blobs/{cid}/share"),
            ("GET", "transfers/00000000"),
        ):
            await _json(doors, method, path, status=404)
        await _json(doors, "GET", "blobs/no-cid", status=400)
        await _json(doors, "POST", f"blobs/{cid}/send", {"peer": str(ADA)}, 502)
        await _json(doors, "POST", f"blobs/{cid}/send", {"peer": "x"}, 400)


async def test_a_fetch_goes_on_behind_the_call_and_ends_with_its_blob(tmp_path: Path) -> None:
    async with _doors(tmp_path) as doors:
        cid = "bafirei" + "a" * 52
        begun = await _json(doors, "POST", f"blobs/{cid}/fetch", {"sources": []}, 202)
        assert begun["state"] == "running"
        again = await _json(doors, "POST", f"blobs/{cid}/fetch", {}, 202)
        assert again["id"] == begun["id"]
        assert (await _json(doors, "DELETE", f"blobs/{cid}"))["cancelled"] == 1
        over = await _json(doors, "GET", f"transfers/{begun['id']}")
        assert over["state"] == "cancelled"
        again = await _json(doors, "POST", f"blobs/{cid}/fetch", {}, 202)
        ended = await _json(doors, "DELETE", f"transfers/{again['id']}")
        assert ended["state"] == "cancelled"


async def test_a_group_is_founded_written_and_read_in_pages(tmp_path: Path) -> None:
    async with _doors(tmp_path) as doors:
        group = (await _json(doors, "POST", "groups", {"name": "tea"}, 201))["id"]
        texts = [f"{number} " + "\x00" * 16_000 for number in range(70)]
        for text in texts:
            made = await _json(doors, "POST", f"groups/{group}/entries", {"text": text}, 201)
        assert made["group"] == group
        seen: list[dict[str, Any]] = []
        page: dict[str, Any] = {"more": True, "last": 0}
        while page["more"]:
            found = await ask(
                doors.socket,
                "GET",
                f"/api/v1/groups/{group}/entries",
                query=f"since={page['last']}".encode(),
            )
            assert len(found.body) < 4 * 1024 * 1024
            page = found.json
            seen += page["entries"]
        assert [each["text"] for each in seen if each["kind"] == "message"] == texts
        assert [each["number"] for each in seen] == [*range(1, len(seen) + 1)]
        none = await ask(
            doors.socket,
            "GET",
            f"/api/v1/groups/{group}/entries",
            query=f"since={page['last']}&wait_s=1".encode(),
        )
        assert none.json["entries"] == [] and none.json["last"] == page["last"]
        await _json(doors, "POST", f"groups/{group}/entries", {"text": "é" * 9_000}, 400)
        await _json(doors, "POST", f"groups/{group}/leave")
        await _json(doors, "POST", f"groups/{group}/entries", {"text": "x"}, 403)
        for path, status in (("ab", 400), ("AB" * 32, 400), ("ab" * 32, 404)):
            await _json(doors, "GET", f"groups/{path}", status=status)
        await _json(doors, "POST", f"groups/{group}/members", {"peer": "x"}, 400)
        opened = await _json(doors, "POST", f"groups/{'ab' * 32}/open")
        assert opened["name"] == "" and not opened["is_member"]
        assert len((await _json(doors, "GET", "groups"))["groups"]) == 2
