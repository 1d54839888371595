"""Many gossip routers and their attackers in one event queue: no streams, no tasks, no signatures.

The routers are the real ones (`protocols.gossip.machine`); what stands in for the rest is a queue
ordered by time, links with a delay of 10-100 ms, and a flag for "its signature is genuine". A run
is decided by its seed. Attacks are those of the gossipsub evaluation (arXiv 2007.02754), scaled.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from fogp2p.ids import PeerId
from fogp2p.protocols.gossip.config import GossipConfig
from fogp2p.protocols.gossip.machine import Router
from fogp2p.protocols.gossip.messages import Envelope, Rpc, Subscription

__all__ = ["ATTACKS", "Outcome", "attack"]

TOPIC = "/attacked"
GENUINE = b"genuine"
HONEST_DIALS = 3
SYBILS_EACH = 20
# So many of them were not inbound but found by the victim's own discovery, more than honest ones.
SYBILS_DIALLED = 4
RELAYED = 0.25
DEADLINE_S = 6.0
HEARTBEATS = 10
BACKOFF_S = 61.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the messages of honest peers published since the attack began.

    A pair is a message and an honest peer that should hear of it. `delivered` is the share of pairs
    that were reached at all, `in_time` within six seconds, `early` within six seconds of those that
    were published in the first ten heartbeats of the attack. Delays in seconds. `settled_s`: after
    which ten seconds of the attack 99 % of the pairs took less than a second; None when never.
    `sybils_in_mesh`: their share of all meshes at the end.
    """

    name: str
    honest: int
    sybils: int
    messages: int
    delivered: float
    in_time: float
    early: float
    p50_s: float
    p99_s: float
    settled_s: float | None
    sybils_in_mesh: float


@dataclass(slots=True)
class _Sybil:
    """Dials one honest peer, grafts again and again, and passes on what `relays` lets it."""

    name: PeerId
    victim: PeerId


class _World:
    def __init__(self, seed: int, honest: int, config: GossipConfig) -> None:
        self.random = random.Random(f"gossip/{seed}")  # noqa: S311 - repeatable on purpose
        self.now = 0.0
        self.routers: dict[PeerId, Router] = {}
        self.sybils: dict[PeerId, _Sybil] = {}
        self.known: set[bytes] = set()  # to the Sybils
        self.relays: Callable[[Envelope, float], bool] = lambda envelope, now: True
        self.published: dict[bytes, tuple[float, PeerId]] = {}
        self.heard: dict[bytes, dict[PeerId, float]] = defaultdict(dict)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._delays: dict[tuple[PeerId, PeerId], float] = {}
        self._numbers = 0
        for n in range(honest):
            name = PeerId.from_ed25519(n.to_bytes(32))
            self.routers[name] = Router(name, config, random.Random(f"{seed}/{n}"))  # noqa: S311

    # --- time ------------------------------------------------------------------------------------

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Do `what` then."""
        self._order += 1
        heapq.heappush(self._queue, (time, self._order, what))

    def run(self, until: float) -> None:
        """Let everything happen up to `until`."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what = heapq.heappop(self._queue)
            what()
        self.now = until

    # --- links -----------------------------------------------------------------------------------

    def connect(self, dialler: PeerId, other: PeerId) -> None:
        """Two honest peers meet."""
        for here, there, is_outbound in ((dialler, other, True), (other, dialler, False)):
            router = self.routers[here]
            router.came(there, is_outbound=is_outbound, address="", now=self.now)
            self.flush(here)

    def flush(self, here: PeerId) -> None:
        """Carry what a router wants sent."""
        router = self.routers[here]
        out, router.outgoing = router.outgoing, []
        for there, rpc in out:
            self.send(here, there, rpc)

    def send(self, here: PeerId, there: PeerId, rpc: Rpc) -> None:
        """Carry one RPC."""
        if (here, there) not in self._delays:
            self._delays[here, there] = self.random.uniform(0.01, 0.1)
        when = self.now + self._delays[here, there]
        take = self.take if there in self.routers else self.take_as_sybil
        self.at(when, lambda: take(here, there, rpc))

    # --- honest peers ----------------------------------------------------------------------------

    def take(self, relay: PeerId, here: PeerId, rpc: Rpc) -> None:
        """An honest peer receives."""
        router = self.routers[here]
        for envelope in router.receive(relay, rpc, self.now):
            if envelope.signature != GENUINE:
                router.reject(envelope, relay, self.now, forged=True)
            elif router.accept(envelope, relay, self.now):
                self.heard[envelope.id].setdefault(here, self.now)
        self.flush(here)

    def beat(self, here: PeerId) -> None:
        """The heartbeat of an honest peer."""
        self.routers[here].heartbeat(self.now)
        self.flush(here)
        self.at(self.now + 1.0, lambda: self.beat(here))

    def publish(self, author: PeerId) -> None:
        """An honest peer says something."""
        self._numbers += 1
        envelope = Envelope(author, self._numbers, TOPIC, b"x", GENUINE)
        self.published[envelope.id] = (self.now, author)
        self.routers[author].publish(envelope, self.now)
        self.flush(author)

    # --- Sybils ----------------------------------------------------------------------------------

    def infiltrate(self, victim: PeerId, count: int) -> None:
        """`count` Sybils dial `victim`, subscribe and graft."""
        for n in range(count):
            name = PeerId.from_ed25519((10**9 + len(self.sybils)).to_bytes(32))
            sybil = self.sybils[name] = _Sybil(name, victim)
            is_outbound = n < SYBILS_DIALLED
            self.routers[victim].came(name, is_outbound=is_outbound, address="", now=self.now)
            wanted = Rpc(subscriptions=(Subscription(TOPIC, True),), graft=(TOPIC,))
            self.send(name, victim, wanted)
            self.flush(victim)
            self.at(self.now + BACKOFF_S, lambda s=sybil: self.graft(s))  # type: ignore[misc]

    def graft(self, sybil: _Sybil) -> None:
        """Try again, as often as no backoff is broken."""
        self.send(sybil.name, sybil.victim, Rpc(graft=(TOPIC,)))
        self.at(self.now + BACKOFF_S, lambda: self.graft(sybil))

    def take_as_sybil(self, relay: PeerId, here: PeerId, rpc: Rpc) -> None:
        """Sybils know what one of them knows, and bring it to their victims while they behave."""
        del here
        for envelope in rpc.publish:
            if envelope.id in self.known or not self.relays(envelope, self.now):
                continue
            self.known.add(envelope.id)
            rpc = Rpc(publish=(envelope,))
            for sybil in self.sybils.values():
                is_news = sybil.victim not in (envelope.author, relay)
                if is_news and self.random.random() < RELAYED:
                    self.send(sybil.name, sybil.victim, rpc)


# Name -> what it is, for reports.
ATTACKS = {
    "none": "no attack",
    "eclipse": "20 Sybils join each honest peer of a running network and pass nothing on",
    "cold boot": "20 Sybils are with each honest peer before it meets an honest one",
    "covert flash": "20 Sybils behave for two minutes and then pass nothing on",
    "attack at dawn": "as covert flash, after ten minutes in which nobody said anything",
    "censor": "20 Sybils for each honest peer pass everything on but what one peer says",
}


def attack(
    name: str,
    seed: int,
    *,
    honest: int = 30,
    sybils_each: int = SYBILS_EACH,
    messages_per_s: float = 2.0,
    seconds: int = 60,
    config: GossipConfig | None = None,
) -> Outcome:
    """Run one of `ATTACKS`; `seconds` and `messages_per_s` are those of the time under attack."""
    world = _World(seed, honest, config or GossipConfig())
    names = list(world.routers)
    start = _begin(world, name, names, 0 if name == "none" else sybils_each)
    censored = names[0] if name == "censor" else None
    for n in range(int(seconds * messages_per_s)):
        author = censored or world.random.choice(names)
        world.at(start + n / messages_per_s, lambda who=author: world.publish(who))  # type: ignore[misc]
    world.run(start + seconds + DEADLINE_S)
    return _outcome(world, name, start)


def _begin(world: _World, name: str, names: list[PeerId], each: int) -> float:
    """Everything up to the moment when the attack begins; returns that moment."""
    if name == "cold boot":
        for victim in names:
            world.infiltrate(victim, each)
        world.run(1.0)
    for index, one in enumerate(names):
        world.routers[one].subscribe(TOPIC, world.now)
        world.flush(one)
        world.at(world.now + world.random.random(), lambda who=one: world.beat(who))  # type: ignore[misc]
        for other in world.random.sample(names[:index], min(HONEST_DIALS, index)):
            world.connect(one, other)
    if name == "cold boot":
        world.relays = lambda envelope, now: False
        world.run(world.now + 3.0)
        return world.now
    world.run(10.0)
    if name in ("covert flash", "attack at dawn", "censor"):
        for victim in names:
            world.infiltrate(victim, each)
        for n in range(240):
            who = world.random.choice(names)
            world.at(world.now + 0.5 * n, lambda who=who: world.publish(who))  # type: ignore[misc]
        world.run(world.now + 120.0)
        if name == "attack at dawn":
            world.run(world.now + 600.0)
        if name == "censor":
            world.relays = lambda envelope, now: envelope.author != names[0]
        else:
            world.relays = lambda envelope, now: False
        return world.now
    world.run(30.0)
    world.relays = lambda envelope, now: False
    for victim in names:
        world.infiltrate(victim, each)
    return world.now


def _outcome(world: _World, name: str, start: float) -> Outcome:
    pairs: list[tuple[float, float]] = []
    lost = 0
    published = {key: value for key, value in world.published.items() if value[0] >= start}
    for key, (at, author) in published.items():
        for peer in world.routers:
            if peer != author:
                heard = world.heard[key].get(peer)
                pairs.append((at, float("inf") if heard is None else heard - at))
                lost += heard is None
    delays = sorted(delay for _, delay in pairs)
    early = [delay for at, delay in pairs if at < start + HEARTBEATS]
    members = [peer for router in world.routers.values() for peer in router.mesh[TOPIC]]
    return Outcome(
        name=name,
        honest=len(world.routers),
        sybils=len(world.sybils),
        messages=len(published),
        delivered=1 - lost / len(pairs),
        in_time=sum(delay <= DEADLINE_S for delay in delays) / len(delays),
        early=sum(delay <= DEADLINE_S for delay in early) / len(early),
        p50_s=delays[len(delays) // 2],
        p99_s=delays[int(len(delays) * 0.99)],
        settled_s=_settled(pairs, start),
        sybils_in_mesh=sum(peer in world.sybils for peer in members) / max(1, len(members)),
    )


def _settled(pairs: list[tuple[float, float]], start: float) -> float | None:
    windows: dict[int, list[bool]] = defaultdict(list)
    for at, delay in pairs:
        windows[int((at - start) / HEARTBEATS)].append(delay < 1.0)
    slow = [n for n, quick in windows.items() if sum(quick) < 0.99 * len(quick)]
    if not slow:
        return 0.0
    return None if max(slow) == max(windows) else (max(slow) + 1.0) * HEARTBEATS
