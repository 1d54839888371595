"""The local API under a thousand kept connections, beside a bare Starlette on hypercorn.

Open loop: each request has its time in advance, and its latency counts from there, so a server that
stalls is not spared the requests of that moment. Load and servers are processes of their own; ours
is a whole peer with another one connected, which answers the pings. Then three times what it can
do: how many are turned away, how many still answered, and how soon all is well after it.
`python -m benchmarks.api [--users 1000] [--rate 400] [--seconds 60] [--runs 1]`
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

warnings.simplefilter("ignore")

import psutil  # noqa: E402
import trio  # noqa: E402
from hypercorn.config import Config as HypercornConfig  # noqa: E402
from hypercorn.trio import serve  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

from benchmarks.report import report, rounded, summary  # noqa: E402
from fogp2p.api import serve_api  # noqa: E402
from fogp2p.config import Loaded, load_config  # noqa: E402
from fogp2p.environment import real_environment, within  # noqa: E402
from fogp2p.node import open_peer  # noqa: E402

SETTINGS = (
    "network.listen=/ip4/127.0.0.1/tcp/0",
    "discovery.mdns=false",
    "discovery.dht=off",
    "api.tcp=127.0.0.1:0",
)
SATURATION_S, OVERLOAD_S = 5.0, 10.0


async def _serve_ours(folder: Path) -> None:
    """A peer with its API, and another one that it is connected to."""
    loaded: Loaded = load_config(None, disk=real_environment().disk, environ={}, flags=SETTINGS)
    quiet = replace(loaded.config, api=replace(loaded.config.api, tcp=""))
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_peer(None, config=loaded.config))
        other = await stack.enter_async_context(open_peer(None, config=quiet))
        await node.connect(str(other.addresses[0]), deadline=within(10))
        nursery = await stack.enter_async_context(trio.open_nursery())
        context = await nursery.start(serve_api, node, loaded, folder / "api.sock")
        _tell(
            {
                "port": int(context.url.rstrip("/").rpartition(":")[2]),
                "token": (folder / "api.token").read_text("ascii").strip(),
                "status": "/api/v1/status",
                "peers": "/api/v1/peers",
                "ping": f"/api/v1/peers/{other.peer_id}/ping",
            }
        )
        await trio.sleep_forever()


async def _serve_plain() -> None:
    """What any such server does at least."""

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse({"hello": "world"})

    async def take(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    app: Any = Starlette(routes=[Route("/get", answer), Route("/post", take, methods=["POST"])])
    settings = HypercornConfig()
    settings.bind = ["127.0.0.1:0"]
    settings.errorlog = settings.accesslog = None
    settings.keep_alive_timeout = 75
    settings.backlog = 1100
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(_start_plain, app, settings)
        port = int(bound[0].rpartition(":")[2])
        _tell({"port": port, "token": "", "status": "/get", "peers": "/get", "ping": "/post"})


async def _start_plain(
    app: Any, settings: HypercornConfig, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    await serve(app, settings, task_status=task_status, mode="asgi")


def _tell(about: dict[str, Any]) -> None:
    print(json.dumps(about), flush=True)


@contextmanager
def _server(kind: str) -> Iterator[tuple[dict[str, Any], psutil.Process]]:
    with TemporaryDirectory() as folder:
        line = [sys.executable, "-W", "ignore", "-m", "benchmarks.api", "--serve", kind, folder]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            about = json.loads(process.stdout.readline())
            yield about, psutil.Process(process.pid)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _load(about: dict[str, Any], *words: str) -> dict[str, Any]:
    """One run of the generator, in its own process."""
    line = [sys.executable, "-W", "ignore", "-m", "benchmarks.api_load", json.dumps(about), *words]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _steady(kind: str, users: int, rate: float, seconds: float) -> dict[str, Any]:
    with _server(kind) as (about, process):
        before, used = process.memory_info().rss, _cpu_s(process)
        found = _load(about, "open", str(users), str(rate), str(seconds))
        used = _cpu_s(process) - used
        return {
            **found,
            "rss_before_mib": rounded(before / 2**20),
            "rss_after_mib": rounded(process.memory_info().rss / 2**20),
            "cpu_ms_per_request": rounded(1000 * used / max(1, found["answered"])),
        }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _overload(users: int) -> dict[str, Any]:
    with _server("ours") as (about, process):
        peak = _load(about, "closed", "64", "0", str(SATURATION_S))["goodput_per_s"]
        before = process.memory_info().rss
        flood = _load(about, "open", str(users), str(3 * peak), str(OVERLOAD_S))
        after = _load(about, "recover", "1", "0", "10")
        return {
            "users": users,
            "saturation_per_s": rounded(peak),
            "asked_per_s": rounded(3 * peak),
            "reached_per_s": rounded((flood["answered"] + flood["errors"]) / flood["took_s"]),
            "goodput_per_s": flood["goodput_per_s"],
            "goodput_of_saturation": rounded(flood["goodput_per_s"] / peak),
            "refused_503": flood["refused_503"],
            "errors": flood["errors"],
            "recovered_after_s": after["recovered_after_s"],
            "rss_grown_mib": rounded((process.memory_info().rss - before) / 2**20),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=400)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--serve", nargs=2, default=None)
    asked = parser.parse_args()
    if asked.serve is not None:
        kind, folder = asked.serve
        trio.run(*((_serve_ours, Path(folder)) if kind == "ours" else (_serve_plain,)))
        return
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "plain": []}
    for _ in range(asked.runs):
        for kind, found in runs.items():
            found.append(_steady(kind, asked.users, asked.rate, asked.seconds))
    figures = {
        kind: {name: summary([each[name] for each in found]) for name in found[0]}
        for kind, found in runs.items()
    }
    ours, plain = figures["ours"], figures["plain"]
    names = ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request")
    report(
        "api",
        ("starlette", "hypercorn", "h11", "trio"),
        {
            "ours_to_plain": {
                name: rounded(ours[name]["median"] / plain[name]["median"]) for name in names
            },
            "load": {
                "users": asked.users,
                "rate_per_s": asked.rate,
                "seconds": asked.seconds,
                "mix": "80 % GET status, 15 % GET peers, 5 % POST ping of a connected peer",
                "plain": "three routes with a trivial JSON answer, no checks at all",
            },
            **figures,
            "overload": _overload(3 * asked.users),
        },
    )


if __name__ == "__main__":
    main()
