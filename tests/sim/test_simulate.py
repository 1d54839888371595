"""The simulator itself: equal seeds run equally, and what is planted is found."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import DiskError, Environment, within
from fogp2p.errors import ConfigError, FogError
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols.blob.store import BlobStore
from fogp2p.protocols.gossip.handler import Gossip
from fogp2p.protocols.gossip.messages import Envelope
from fogp2p.protocols.log import Group, Stored
from fogp2p.sim import (
    SCENARIOS,
    Options,
    Scenario,
    SimNode,
    SimulationAnswer,
    draw_mix,
    draw_picture,
    lines,
    simulate,
)
from fogp2p.sim.disk import WRITE_BACK_S, SimDisk
from fogp2p.sim.faults import CALM, KINDS, FaultMix
from fogp2p.sim.scenarios.partition import Partition
from fogp2p.sim.seeds import append_seed, parse_seeds
from fogp2p.sim.world import Up
from fogp2p.testing import Trace, run_simulation
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

SEEDS = Path(__file__).parent.parent / "regress" / "seeds.txt"
# One run of each, looked at by several tests.
SMALL = {
    "partition": Options(14, 2, 2, faults=False),
    "churn": Options(10, 1, 2, faults=False),
    "flash-crowd": Options(16, 1, 1.5, faults=False),
}
PRINT_TRACES = """
from fogp2p.sim import SCENARIOS, Options, simulate
for name in SCENARIOS:
    for seed in (1, 2):
        print(name, seed, simulate(SCENARIOS[name], Options(5, seed, 0.3)).trace)
"""


def run(name: str, options: Options) -> SimulationAnswer:
    return simulate(SCENARIOS[name], options)


@functools.cache
def small(name: str) -> SimulationAnswer:
    return run(name, SMALL[name])


def test_equal_seeds_run_equally_whatever_order_python_gives_its_sets() -> None:
    def traces(hash_seed: str) -> list[str]:
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        line = [sys.executable, "-c", PRINT_TRACES]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    first = traces("1")
    assert len(set(first)) == 2 * len(SCENARIOS)
    assert traces("4242") == first


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_small_run_holds_and_becomes_level(name: str) -> None:
    found = small(name)
    assert found.broken is None, lines(found)
    assert found.converged and found.converged_after_s is not None
    assert all(times > 0 for key, times in found.invariants.items() if key != "scenario.prepares")
    assert found.samples[-1].running == found.peers
    assert [s.at_s for s in found.samples] == sorted(s.at_s for s in found.samples)
    assert {sample.phase for sample in found.samples} == {"prepare", "safety", "liveness"}


def test_a_partition_parts_and_heals_for_little_more_than_the_difference() -> None:
    found = small("partition")
    parted = [sample.share for sample in found.samples if sample.phase == "safety"]
    assert min(parted) <= 0.5, "both halves wrote, so at most one half was alike"
    assert found.figures["entries_written"] > 20
    assert 1 <= found.figures["bytes_sent_for_each_missing"] < 3


def test_churn_kills_and_others_still_find_and_hear() -> None:
    found = small("churn")
    assert found.figures["crashes"] > 0
    assert found.figures["heard_share"] > 0.9
    assert found.figures["found_share"] > 0.9


def test_a_crowd_trades_among_itself() -> None:
    found = small("flash-crowd")
    assert found.figures["chunks_from_others"] > found.figures["chunks_from_the_first"]
    assert found.figures["median_s"] < found.figures["from_one_uplink_s"]


@pytest.mark.parametrize(("name", "options"), parse_seeds(SEEDS.read_text("utf-8")))
def test_seeds_of_before_hold(name: str, options: Options) -> None:
    found = run(name, options)
    assert found.broken is None, lines(found)


# --- planted faults ------------------------------------------------------------------------------


def assert_named(found: SimulationAnswer, *names: str) -> None:
    assert found.broken is not None and found.broken.name in names, lines(found)
    assert f"  replay: {found.replay}" in lines(found)


def test_entries_shown_in_another_order_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Group.page_after

    async def shuffled(self: Group, number: int) -> Sequence[Stored]:
        page = await usual(self, number)
        return list(reversed(page))

    monkeypatch.setattr(Group, "page_after", shuffled)
    found = run("partition", Options(6, 1, 1))
    assert_named(found, "log.parents-first", "log.once-and-in-order")


class Crashing(Partition):
    """Every node crashes about once a minute."""

    def mix(self, drawn: FaultMix) -> FaultMix:
        return dataclasses.replace(drawn, crashes_per_min=1.0, restart_mean_s=5.0)


class Forgetful(Crashing):
    """The storage forgets its last entry at a crash, as if a commit had not been flushed."""

    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        if node.lives > 1:
            for kept in self.kept(node).storage._groups.values():
                last = kept.entries.pop()
                del kept.by_id[last.id]
        await super().live(node, host, environment, up)


def test_a_write_that_is_acknowledged_and_lost_is_noticed() -> None:
    honest = simulate(Crashing, Options(8, 1, 1, faults=False))
    assert honest.figures["crashes"] > 2 and honest.broken is None, lines(honest)
    found = simulate(Forgetful, Options(8, 1, 1, faults=False))
    assert found.broken is not None and found.broken.name.startswith("log."), lines(found)


def test_a_message_heard_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Gossip._deliver

    def twice(self: Gossip, envelope: Envelope, relay: PeerId) -> None:
        usual(self, envelope, relay)
        usual(self, envelope, relay)

    monkeypatch.setattr(Gossip, "_deliver", twice)
    assert_named(run("churn", Options(6, 1, 1)), "gossip.once-in-a-life")


def test_a_file_that_is_not_what_its_name_says_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = BlobStore.content

    async def damaged(self: BlobStore, cid: Any) -> bytes:
        content = bytearray(await usual(self, cid))
        content[1000] ^= 1
        return bytes(content)

    monkeypatch.setattr(BlobStore, "content", damaged)
    found = run("flash-crowd", Options(5, 1, 1))
    assert_named(found, "blob.exactly-what-its-name-says")


class Impatient(Partition):
    """Gives up soon."""

    settle_s = 10.0


def test_peers_that_never_become_level_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(self: Group, entries: Sequence[Any]) -> None:
        if len(self.replica) < 12:
            await usual(self, entries)

    usual = Group.take
    monkeypatch.setattr(Group, "take", deaf)
    found = simulate(Impatient, Options(6, 1, 0.5, faults=False))
    assert_named(found, "scenario.converges")
    assert not found.converged


class Faulty(Scenario):
    """A handler, or the node's own process, fails by a mistake of the programmer."""

    name = "faulty"
    about = "for this test"
    minutes = 0.1
    settle_s = 1.0

    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        async def handler(stream: object) -> None:
            raise ZeroDivisionError("planted")

        host.set_handler(ProtocolId("/x/1.0.0"), handler)
        up(())
        await self.world.keep_connected(node, host, self.neighbours(node))

    async def prepare(self) -> None:
        await self.world.start_all(self.world.nodes)

    async def safety(self, seconds: float) -> None:
        await trio.sleep(seconds)
        near, far = self.world.nodes
        assert far.host is not None
        try:
            stream = await far.host.open_stream(
                near.peer_id, [ProtocolId("/x/1.0.0")], deadline=within(5)
            )
            await stream.read_some()
        except FogError:
            return

    def share(self) -> float:
        return 1.0

    def figures(self) -> dict[str, float]:
        return {}


class FaultyNode(Faulty):
    """The same outside a handler."""

    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        up(())
        await trio.sleep(1)
        raise ZeroDivisionError("planted")


@pytest.mark.parametrize("kind", [Faulty, FaultyNode])
def test_an_exception_that_is_none_of_ours_is_noticed(kind: type[Scenario]) -> None:
    found = simulate(kind, Options(2, 1, faults=False))
    assert_named(found, "node.no-foreign-exception")
    assert found.broken is not None and "planted" in found.broken.reason


# --- its parts -----------------------------------------------------------------------------------


def test_drawn_faults_keep_their_ranges_and_are_sometimes_absent() -> None:
    mixes = [draw_mix(random.Random(seed)) for seed in range(300)]
    assert max(mix.loss for mix in mixes) <= 0.30 and any(mix.loss == 0 for mix in mixes)
    assert max(mix.latency_s for mix in mixes) <= 2.0
    assert max(mix.clogs_per_s for mix in mixes) <= 0.02
    assert max(mix.partitions_per_s for mix in mixes) <= 0.03
    assert max(mix.disk_errors for mix in mixes) <= 0.1
    assert min(mix.unflushed_loss for mix in mixes) >= 0.8
    assert max(mix.clock_jump_s for mix in mixes) <= 3_600
    assert draw_mix(random.Random(1), frozenset()) == CALM
    for kind in KINDS:
        assert any(draw_mix(random.Random(seed), frozenset({kind})) != CALM for seed in range(9))


async def test_a_disk_forgets_what_was_not_flushed(autojump_clock: trio.testing.MockClock) -> None:
    disk = SimDisk(random.Random(1), lambda content: content)
    durable, loose, old = Path("/a"), Path("/b"), Path("/c")
    disk.replace(durable, b"1")
    disk.replace(old, b"kept", durable=False)
    await trio.sleep(WRITE_BACK_S)
    disk.replace(durable, b"2", durable=False)
    disk.replace(loose, b"3", durable=False)
    disk.cut_power()
    with pytest.raises(DiskError, match="power"):
        disk.read(durable, max_bytes=9)
    disk.power_on()
    assert disk.read(durable, max_bytes=9) == b"1"
    assert disk.read(loose, max_bytes=9) is None
    assert disk.read(old, max_bytes=9) == b"kept"
    disk.error_share = 1.0
    for attempt in (lambda: disk.replace(old, b""), lambda: disk.remove(old)):
        with pytest.raises(DiskError, match="input/output"):
            attempt()
    assert disk.errors == 2


def test_a_network_parts_one_way_and_hosts_share_their_uplink() -> None:
    async def scenario(trace: Trace) -> tuple[float, bool]:
        network = MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.1))
        keys = [ephemeral(random.Random(n)) for n in range(3)]
        network.set_uplink(keys[0].peer_id, 1_000)
        first = network.path(keys[0].peer_id, keys[1].peer_id)
        second = network.path(keys[0].peer_id, keys[2].peer_id)
        first.arrival(0.0, 500)
        arrived = second.arrival(0.0, 500)
        network.partition([keys[0].peer_id], [keys[1].peer_id], one_way=True)
        assert first.is_cut and not network.path(keys[1].peer_id, keys[0].peer_id).is_cut
        assert not second.is_cut, "a peer that no group names"
        network.heal()
        assert network.carried_bytes == 1_000 and network.carried_segments == 2
        return arrived, first.is_cut

    assert run_simulation(1, scenario)[0] == (pytest.approx(1.1), False)


def test_a_host_that_returns_has_its_old_address() -> None:
    async def scenario(trace: Trace) -> None:
        network, keys = MemoryNetwork(seed=1), ephemeral(random.Random(1))
        async with network.open_host(keys) as host:
            before = host.addresses
        async with network.open_host(ephemeral(random.Random(2))), network.open_host(keys) as host:
            assert host.addresses == before

    run_simulation(1, scenario)


def test_seeds_are_read_and_added_once(tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text("# why\npartition --peers 9 --seed 4 --no-faults", "utf-8")
    append_seed(file, "churn", Options(10, 3, 2.5))
    append_seed(file, "churn", Options(10, 3, 2.5))
    assert parse_seeds(file.read_text("utf-8")) == [
        ("partition", Options(9, 4, None, faults=False)),
        ("churn", Options(10, 3, 2.5)),
    ]
    with pytest.raises(ConfigError, match="cannot write"):
        append_seed(tmp_path / "no" / "seeds.txt", "churn", Options())


@pytest.mark.parametrize(
    "line",
    ["nothing --peers 3 --seed 1", "churn --peers 3", "churn --seed", "churn --peers 1 --seed 1"],
)
def test_a_line_that_is_no_run_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="line 2 is no run"):
        parse_seeds(f"\n{line}\n")


def test_a_picture_is_drawn_or_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = small("flash-crowd")
    draw_picture(found, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="cannot write the picture"):
        draw_picture(found, tmp_path / "run.nonsense")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="matplotlib"):
        draw_picture(found, tmp_path / "other.png")


# --- the command ---------------------------------------------------------------------------------

PLANT = """
import sys
from fogp2p.protocols.log import Group
async def reversed_page(self, number, usual=Group.page_after):
    return list(reversed(await usual(self, number)))
Group.page_after = reversed_page
from fogp2p.cli import main
main()
"""


@pytest.mark.process
def test_a_seed_that_fails_exits_with_1_and_is_remembered(
    tmp_path: Path,
) -> None:
    seeds = tmp_path / "seeds.txt"
    words = ["simulate", "partition", "--peers", "6", "--minutes", "1", "--remember", str(seeds)]
    line = [sys.executable, "-c", PLANT, *words, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    error = json.loads(done.stderr.splitlines()[-1])
    assert error["code"] == "FOG-SIM-001"
    assert error["hint"].endswith(found["replay"])
    assert found["replay"] == "fogp2p simulate partition --peers 6 --seed 1 --minutes 1"
    assert parse_seeds(seeds.read_text("utf-8")) == [("partition", Options(6, 1, 1.0))]


@pytest.mark.process
def test_ctrl_c_ends_it_without_a_traceback() -> None:
    line = [sys.executable, "-m", "fogp2p", "simulate", "partition", "--peers", "60"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert "safety" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in said
