"""Blobs between processes: one source, four sources, a gibibyte; beside the raw stream.

Baseline in the same run and between the same processes: the same number of bytes through one bare
stream, read and thrown away. A blob's figure counts what the getter has checked and stored. What a
run stored is deleted before the next one: memory that a virtual machine never used before is given
to it page by page, and files would be written at a quarter of the speed (measured).
Run: `python -m benchmarks.blob [RUNS] [MEBIBYTES]`; prints JSON.
"""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import psutil
import trio
from blake3 import blake3

from benchmarks.report import report, summary
from fogp2p.addresses import parse_address, peer_of, without_peer
from fogp2p.environment import real_environment, within
from fogp2p.host import Host, Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, protocol_id
from fogp2p.limits import MIB
from fogp2p.protocols.blob import CHUNK_BYTES, BlobConfig, Cid, Manifest, open_blobs
from fogp2p.transports.libp2p import Libp2pConfig, open_host

RAW = protocol_id("/bench/raw/1.0.0")
BLOCK = random.Random(1).randbytes(64 * 1024)
CONFIG = BlobConfig(quota_bytes=4 * 1024 * MIB)
BIG_MIB = 1024

# --- what is taken out of the getter, to see what it costs ----------------------------------------


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


@contextmanager
def without_hash() -> Iterator[None]:
    """Chunks are taken unchecked."""
    with patch.object(Manifest, "is_chunk", lambda *_: True):
        yield


@contextmanager
def without_hash_and_write() -> Iterator[None]:
    """And they go nowhere."""
    disk = type(real_environment().disk)
    with without_hash(), patch.object(disk, "write_at", lambda *_: None):
        yield


@contextmanager
def with_blake3() -> Iterator[None]:
    """Another hash of the same bytes is computed in place of the SHA-256."""
    with patch.object(Manifest, "is_chunk", lambda _, __, data: bool(blake3(data).digest())):
        yield


VARIANTS = {
    "one_source": as_it_is,
    "one_source_without_hash": without_hash,
    "one_source_without_hash_and_write": without_hash_and_write,
    "one_source_with_blake3": with_blake3,
}


async def serve(folder: Path, content: Path) -> None:
    """A source in a process of its own: says its address and the CID, ends with its stdin."""

    async def raw(stream: Stream) -> None:
        left = int((await stream.read_some()).decode())
        while left > 0:
            await stream.write_all(BLOCK)
            left -= len(BLOCK)

    environment = real_environment()
    async with (
        open_host(ephemeral(random.SystemRandom()), Libp2pConfig(), environment) as host,
        open_blobs(host, [], environment, folder, CONFIG) as blobs,
    ):
        host.set_handler(RAW, raw)
        cid = await blobs.store.add_file(content)
        sys.stdout.write(f"{host.addresses[0]} {cid}\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


@asynccontextmanager
async def sources(folder: Path, content: Path, count: int) -> AsyncIterator[tuple[list[str], Cid]]:
    """`count` sources; their addresses and the CID."""
    processes = [_start(folder / f"source{n}", content) for n in range(count)]
    try:
        said = []
        for process in processes:
            assert process.stdout is not None
            said.append((await trio.to_thread.run_sync(process.stdout.readline)).split())
        yield [address for address, _ in said], Cid.parse(said[0][1])
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()


def _start(folder: Path, content: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "benchmarks.blob", "serve", str(folder), str(content)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def connect(host: Host, address: str) -> PeerId:
    full = parse_address(address)
    peer = peer_of(full)
    assert peer is not None
    await host.connect(peer, [without_peer(full)], deadline=within(10))
    return peer


async def raw_rate(host: Host, peer: PeerId, size: int) -> float:
    """MB/s of a bare stream, counted here."""
    async with await host.open_stream(peer, [RAW], deadline=within(10)) as stream:
        start, got = time.perf_counter(), 0
        await stream.write_all(str(size).encode())
        while data := await stream.read_some(1 << 20):
            got += len(data)
        assert got == size
        return size / 1e6 / (time.perf_counter() - start)


async def blob_rate(
    host: Host, folder: Path, cid: Cid, peers: list[PeerId], size: int
) -> tuple[float, float]:
    """(MB/s checked and stored, RSS growth at its highest in MiB) into an empty folder."""
    rss, highest = psutil.Process().memory_info().rss, 0

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, psutil.Process().memory_info().rss)
            await trio.sleep(0.05)

    async with open_blobs(host, [], real_environment(), folder, CONFIG) as blobs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            start = time.perf_counter()
            await blobs.fetch(cid, sources=peers, deadline=within(600))
            took = time.perf_counter() - start
            nursery.cancel_scope.cancel()
        kept = blobs.store.find(cid)
        assert kept is not None and kept.is_whole and kept.size == size
    await trio.to_thread.run_sync(shutil.rmtree, folder)
    return size / 1e6 / took, max(0, highest - rss) / MIB


async def measure(runs: int, mebibytes: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    size = mebibytes * MIB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = folder / "content"
        _write(content, size)
        async with (
            sources(folder, content, 4) as (addresses, cid),
            open_host(ephemeral(random.SystemRandom()), Libp2pConfig(), real_environment()) as host,
        ):
            peers = [await connect(host, addresses[0])]
            for run in range(runs):
                raw = await raw_rate(host, peers[0], size)
                _note(figures, raw_stream_mb_per_s=raw)
                order = list(VARIANTS)
                for name in order[run % len(order) :] + order[: run % len(order)]:
                    with VARIANTS[name]():
                        one, _ = await blob_rate(host, folder / f"one{run}", cid, peers, size)
                    _note(figures, **{f"{name}_mb_per_s": one})
                    _note(figures, **{f"ratio_{name}_to_raw_stream": one / raw})
            peers += [await connect(host, address) for address in addresses[1:]]
            for run in range(runs):
                four, _ = await blob_rate(host, folder / f"four{run}", cid, peers, size)
                _note(figures, four_sources_mb_per_s=four)
    ratio = statistics.median(figures["four_sources_mb_per_s"]) / statistics.median(
        figures["one_source_mb_per_s"]
    )
    return {"ratio_four_sources_to_one": [ratio], **figures}


async def measure_big() -> dict[str, list[float]]:
    """A gibibyte once, for the memory it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = folder / "content"
        _write(content, BIG_MIB * MIB)
        async with (
            sources(folder, content, 1) as (addresses, cid),
            open_host(ephemeral(random.SystemRandom()), Libp2pConfig(), real_environment()) as host,
        ):
            peer = await connect(host, addresses[0])
            rate, grown = await blob_rate(host, folder / "got", cid, [peer], BIG_MIB * MIB)
    return {"gibibyte_mb_per_s": [rate], "gibibyte_rss_growth_mib": [grown]}


def measure_files(runs: int) -> dict[str, list[float]]:
    """128 MiB in chunks: each a file that gets its name when it is whole, or all in one file."""
    figures: dict[str, list[float]] = {}
    disk, chunk = real_environment().disk, random.Random(2).randbytes(CHUNK_BYTES)
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name:
            start = time.perf_counter()
            for number in range(512):
                disk.replace(Path(name) / "chunks" / f"{number}", chunk, durable=False)
            many = time.perf_counter() - start
            start = time.perf_counter()
            for number in range(512):
                disk.write_at(Path(name) / "one", number * CHUNK_BYTES, [chunk])
            _note(figures, write_512_files_s=many, write_one_file_s=time.perf_counter() - start)
    return figures


def _write(path: Path, size: int) -> None:
    """Content without repetition: every chunk differs."""
    source = random.Random(size)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(source.randbytes(MIB))


def _note(figures: dict[str, list[float]], **values: float) -> None:
    for name, value in values.items():
        figures.setdefault(name, []).append(value)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        trio.run(serve, Path(sys.argv[2]), Path(sys.argv[3]))
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    mebibytes = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    figures = trio.run(measure, runs, mebibytes) | trio.run(measure_big) | measure_files(runs)
    body = {
        "workload": f"{mebibytes} MiB without repetition, processes on loopback",
        "figures": {name: summary(values) for name, values in figures.items()},
    }
    report("blob", ["trio"], body)


if __name__ == "__main__":
    main()
