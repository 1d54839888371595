"""The load of `benchmarks.api`: HTTP/1.1 on kept connections, in a process of its own.

`open`: each user has its moments in advance. `closed`: each asks again at once. `recover`: asks
until ten answers in a row come within 50 ms. Prints one JSON object.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import trio

from benchmarks.report import rounded

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
TIMEOUT_S = 20.0
QUICK_S, QUICK_RUN = 0.05, 10


@dataclass
class Tally:
    """What came back."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: int = 0


class User:
    """One kept connection."""

    def __init__(self, about: dict[str, Any], tally: Tally) -> None:
        self._about = about
        self._tally = tally
        self._stream: trio.SocketStream | None = None
        self._requests = [_request(about, name) for name in ("status", "peers", "ping")]

    async def connect(self) -> None:
        self._stream = await trio.open_tcp_stream("127.0.0.1", self._about["port"])

    async def ask(self, number: int, since: float) -> None:
        """Request `number` of all; its latency counts from `since`."""
        # 80 %, 15 %, 5 %, spread evenly.
        kind = 2 if number % 20 == 7 else 1 if number % 20 in (3, 11, 17) else 0
        try:
            with trio.fail_after(TIMEOUT_S):
                status = await self._on_some_connection(self._requests[kind])
        except (OSError, trio.TooSlowError, trio.BrokenResourceError):
            self._tally.errors += 1
            if self._stream is not None:
                await trio.aclose_forcefully(self._stream)
            self._stream = None
            return
        self._tally.statuses[status] += 1
        if status < 400:
            self._tally.latencies.append(trio.current_time() - since)

    async def _on_some_connection(self, request: bytes) -> int:
        """As any HTTP client: a kept connection that turns out to be closed is made again."""
        if self._stream is not None:
            try:
                return await self._exchange(request)
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(self._stream)
        await self.connect()
        return await self._exchange(request)

    async def _exchange(self, request: bytes) -> int:
        assert self._stream is not None
        await self._stream.send_all(request)
        got = b""
        while True:
            part = await self._stream.receive_some(65536)
            if not part:
                raise trio.BrokenResourceError
            got += part
            head, end, body = got.partition(b"\r\n\r\n")
            if not end:
                continue
            length = _LENGTH.search(head)
            if length is not None and len(body) >= int(length[1]):
                if b"\nconnection: close" in head.lower():
                    await self._stream.aclose()
                    self._stream = None
                return int(head[9:12])


def _request(about: dict[str, Any], name: str) -> bytes:
    body = b'{"count":1,"timeout_s":10}' if name == "ping" else b""
    lines = [
        f"{'POST' if body else 'GET'} {about[name]} HTTP/1.1",
        f"Host: 127.0.0.1:{about['port']}",
        f"Authorization: Bearer {about['token']}",
        *((f"Content-Length: {len(body)}", "Content-Type: application/json") if body else ()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def open_loop(about: dict[str, Any], users: int, rate: float, seconds: float) -> Any:
    tally = Tally()
    crowd = [User(about, tally) for _ in range(users)]
    for user in crowd:
        await user.connect()
    start = trio.current_time() + 0.5
    total = int(rate * seconds)

    async def live(index: int) -> None:
        for number in range(index, total, users):
            due = start + number / rate
            await trio.sleep_until(due)
            if trio.current_time() > start + seconds + TIMEOUT_S:
                tally.errors += 1
                continue
            await crowd[index].ask(number, due)

    async with trio.open_nursery() as nursery:
        for index in range(users):
            nursery.start_soon(live, index)
    return _summary(tally, max(seconds, trio.current_time() - start))


async def closed_loop(about: dict[str, Any], users: int, seconds: float) -> Any:
    tally = Tally()
    start = trio.current_time()

    async def live(index: int) -> None:
        user, number = User(about, tally), index
        while trio.current_time() < start + seconds:
            await user.ask(number, trio.current_time())
            number += 7

    async with trio.open_nursery() as nursery:
        for index in range(users):
            nursery.start_soon(live, index)
    return _summary(tally, trio.current_time() - start)


async def recover(about: dict[str, Any], seconds: float) -> Any:
    tally, start, quick = Tally(), trio.current_time(), 0
    user = User(about, tally)
    while trio.current_time() < start + seconds:
        before = len(tally.latencies)
        await user.ask(0, trio.current_time())
        good = len(tally.latencies) > before and tally.latencies[-1] < QUICK_S
        quick = quick + 1 if good else 0
        if quick == QUICK_RUN:
            return {"recovered_after_s": rounded(trio.current_time() - start)}
    return {"recovered_after_s": None}


def _summary(tally: Tally, took_s: float) -> dict[str, Any]:
    times = sorted(tally.latencies) or [0.0]

    def at(part: float) -> float:
        return rounded(1000 * times[min(len(times) - 1, int(part * len(times)))])

    good = len(tally.latencies)
    answered = sum(tally.statuses.values())
    refused = tally.statuses[503]
    return {
        "p50_ms": at(0.50),
        "p95_ms": at(0.95),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "answered": answered,
        "refused_503": refused,
        "errors": tally.errors + answered - good - refused,
        "goodput_per_s": rounded(good / took_s),
        "took_s": rounded(took_s),
    }


def main() -> None:
    about, mode = json.loads(sys.argv[1]), sys.argv[2]
    users, rate, seconds = int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
    if mode == "open":
        found = trio.run(open_loop, about, users, rate, seconds)
    elif mode == "closed":
        found = trio.run(closed_loop, about, users, seconds)
    else:
        found = trio.run(recover, about, seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
