"""The libp2p host keeps the promises of `fogp2p.host` over real loopback sockets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fogp2p.environment import real_environment
from fogp2p.host import Host
from fogp2p.identity import KeyType, ephemeral
from fogp2p.testing.contract import CHECKS, Check
from fogp2p.transports.libp2p import Libp2pConfig, open_host


@asynccontextmanager
async def _pair(first: KeyType = "ed25519") -> AsyncIterator[tuple[Host, Host]]:
    environment, source = real_environment(), random.Random(1)
    near_keys, far_keys = ephemeral(source, key_type=first), ephemeral(source)
    async with (
        open_host(near_keys, Libp2pConfig(), environment) as near,
        open_host(far_keys, Libp2pConfig(), environment) as far,
    ):
        yield near, far


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_contract(check: Check) -> None:
    async with _pair() as (near, far):
        await check(near, far)


async def test_a_secp256k1_peer_speaks_to_an_ed25519_peer() -> None:
    async with _pair("secp256k1") as (near, far):
        await CHECKS[1](near, far)
