"""libp2p as shipped, with Noise and yamux alone: `serve | client ADDRESS | crowd ADDRESS COUNT`."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import AsyncExitStack
from typing import Any

warnings.simplefilter("ignore")

import trio  # noqa: E402
from libp2p import new_host  # noqa: E402
from libp2p.crypto.ed25519 import create_new_key_pair  # noqa: E402
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key  # noqa: E402
from libp2p.custom_types import TProtocol  # noqa: E402
from libp2p.network.stream.exceptions import StreamEOF  # noqa: E402
from libp2p.peer.peerinfo import info_from_p2p_addr  # noqa: E402
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE  # noqa: E402
from libp2p.security.noise.transport import Transport as NoiseTransport  # noqa: E402
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX  # noqa: E402
from libp2p.stream_muxer.yamux.yamux import Yamux  # noqa: E402
from multiaddr import Multiaddr  # noqa: E402

from .fog import say  # noqa: E402
from .measure import ECHO, SINK, measure, rss  # noqa: E402

LOOPBACK = Multiaddr("/ip4/127.0.0.1/tcp/0")


def make() -> Any:
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=create_noise_key().private_key)
    return new_host(
        key_pair=keys,
        sec_opt={TProtocol(NOISE): noise},
        muxer_opt={TProtocol(YAMUX): Yamux},
        listen_addrs=[LOOPBACK],
    )


class StockPipe:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        try:
            return bytes(await self._stream.read(65536))
        except StreamEOF:
            return b""

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    async def end(self) -> None:
        await self._stream.close()

    async def close(self) -> None:
        await self._stream.close()


class Stock:
    def __init__(self, host: Any, address: str) -> None:
        self._host = host
        self._info = info_from_p2p_addr(Multiaddr(address))

    async def connect(self) -> None:
        await self._host.connect(self._info)

    async def disconnect(self) -> None:
        await self._host.disconnect(self._info.peer_id)

    async def open(self, protocol: str) -> StockPipe:
        return StockPipe(await self._host.new_stream(self._info.peer_id, [TProtocol(protocol)]))


async def sink(stream: Any) -> None:
    pipe, count = StockPipe(stream), 0
    while data := await pipe.read():
        count += len(data)
    await pipe.write(str(count).encode())
    await pipe.close()


async def echo(stream: Any) -> None:
    pipe = StockPipe(stream)
    while data := await pipe.read():
        await pipe.write(data)
    await pipe.close()


async def serve() -> None:
    host = make()
    async with host.run(listen_addrs=[LOOPBACK]):
        host.set_stream_handler(TProtocol(SINK), sink)
        host.set_stream_handler(TProtocol(ECHO), echo)
        address = str(host.get_addrs()[0])
        say(address=address if "/p2p/" in address else f"{address}/p2p/{host.get_id()}")
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            say(rss=rss(), connections=len(host.get_connected_peers()))


async def client(address: str) -> None:
    host = make()
    async with host.run(listen_addrs=[LOOPBACK]):
        say(**await measure(Stock(host, address)))


async def crowd(address: str, count: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            host = make()
            await stack.enter_async_context(host.run(listen_addrs=[LOOPBACK]))
            await Stock(host, address).connect()
        say(connected=count)
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


def main() -> None:
    logging.disable(logging.CRITICAL)
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
