"""Invites over real sockets, and their file under kill -9."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fogp2p.environment import real_environment, within
from fogp2p.identity import ephemeral
from fogp2p.protocols.invite import Kind, Stage, open_invites
from fogp2p.protocols.invite.book import decode_book
from fogp2p.transports.libp2p import Libp2pConfig, open_host

pytestmark = pytest.mark.process

# Makes invites on a host of its own, says each code once `invite` has returned, and goes on.
_INVITER = """
import random, sys
from pathlib import Path
import trio
from fogp2p.environment import real_environment
from fogp2p.identity import ephemeral
from fogp2p.protocols.invite import open_invites
from fogp2p.transports.memory import MemoryNetwork

async def main():
    async with MemoryNetwork().open_host(ephemeral(random.Random(1))) as host:
        async with open_invites(host, [], real_environment(), Path(sys.argv[1])) as invites:
            while True:
                invite = await invites.invite()
                print(invite.record.id, invite.code, flush=True)
                if len(invites.invites()) > 8:
                    await invites.cancel(invite.record.id)

trio.run(main)
"""


@pytest.mark.spec("INV-040")
def test_what_was_shown_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "data" / "invites"
    source, shown = random.Random(5), {}
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", _INVITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(source.randrange(1, 4)):
            id, code = child.stdout.readline().split()
            shown[id] = code
        child.kill()
        # What it said in the meantime counts as well.
        for line in child.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                id, code = line.split()
                shown[id] = code
        child.stdout.close()
        child.wait()
        book = decode_book(path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o600
        for id, code in shown.items():
            record = book.invites.get(id)
            # The ninth and later ones are cancelled, and finished ones make room in time.
            if record is not None and record.stage is Stage.INVITED:
                assert str(record.code(ephemeral(random.Random(1)).peer_id, ())) == code
        kept = [id for id in shown if id in book.invites]
        assert len(kept) >= min(8, len(shown))
    assert sorted(os.listdir(path.parent))[-1] == "invites"


@pytest.mark.parametrize("kind", list(Kind))
async def test_two_peers_pair_over_tcp(tmp_path: Path, kind: Kind) -> None:
    environment = real_environment()
    config = Libp2pConfig()
    keys = [ephemeral(random.Random(n)) for n in (1, 2)]
    async with (
        open_host(keys[0], config, environment) as one,
        open_host(keys[1], config, environment) as two,
        open_invites(one, [], environment, tmp_path / "a" / "invites", name="ada") as ada,
        open_invites(two, [], environment, tmp_path / "b" / "invites", name="bob") as bob,
    ):
        invite = await ada.invite(kind)
        if kind is Kind.WORDS:
            await two.connect(one.peer_id, one.addresses, deadline=within(10))
        contact = await bob.join(str(invite.code), deadline=within(20))
        assert (contact.peer, contact.name, contact.how) == (one.peer_id, "ada", kind)
        with ada.events() as steps:
            if not ada.contacts() or ada.invites()[0].stage is not Stage.VERIFIED:
                await anext(steps)
        assert [each.peer for each in ada.contacts()] == [two.peer_id]
        assert ada.invites()[0].stage is Stage.VERIFIED
    assert (tmp_path / "b" / "invites").stat().st_mode & 0o777 == 0o600
