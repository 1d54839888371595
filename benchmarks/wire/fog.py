"""Our side: `python -m benchmarks.wire.fog serve | client ADDRESS | crowd ADDRESS COUNT`."""

from __future__ import annotations

import json
import random
import sys
from contextlib import AsyncExitStack

import trio

from fogp2p.addresses import parse_address, peer_of, without_peer
from fogp2p.environment import real_environment, within
from fogp2p.host import Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import protocol_id
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

from .measure import ECHO, SINK, measure, rss


class FogPipe:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        return await self._stream.read_some()

    async def write(self, data: bytes) -> None:
        await self._stream.write_all(data)

    async def end(self) -> None:
        await self._stream.close_write()

    async def close(self) -> None:
        await self._stream.aclose()


class Fog:
    def __init__(self, host: LibP2PHost, address: str) -> None:
        self._host = host
        full = parse_address(address)
        peer = peer_of(full)
        assert peer is not None
        self._peer, self._address = peer, without_peer(full)

    async def connect(self) -> None:
        await self._host.connect(self._peer, [self._address], deadline=within(10))

    async def disconnect(self) -> None:
        await self._host.disconnect(self._peer)

    async def open(self, protocol: str) -> FogPipe:
        name = protocol_id(protocol)
        return FogPipe(await self._host.open_stream(self._peer, [name], deadline=within(10)))


async def sink(stream: Stream) -> None:
    count = 0
    while data := await stream.read_some(1 << 20):
        count += len(data)
    await stream.write_all(str(count).encode())


async def echo(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


def say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    config = Libp2pConfig(inbound_connections=1_000)
    async with open_host(ephemeral(random.SystemRandom()), config, real_environment()) as host:
        host.set_handler(protocol_id(SINK), sink)
        host.set_handler(protocol_id(ECHO), echo)
        say(address=str(host.addresses[0]))
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            say(rss=rss(), connections=len(host.peers()))


async def client(address: str) -> None:
    async with open_host(
        ephemeral(random.SystemRandom()), Libp2pConfig(), real_environment()
    ) as host:
        say(**await measure(Fog(host, address)))


async def crowd(address: str, count: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            keys = ephemeral(random.SystemRandom())
            host = await stack.enter_async_context(
                open_host(keys, Libp2pConfig(), real_environment())
            )
            await Fog(host, address).connect()
        say(connected=count)
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


def main() -> None:
    match sys.argv[1:]:
        case ["serve"]:
            trio.run(serve)
        case ["client", address]:
            trio.run(client, address)
        case ["crowd", address, count]:
            trio.run(crowd, address, int(count))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
