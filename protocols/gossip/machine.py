"""The gossipsub router as a pure machine.

Theory of operation: in each topic we keep a mesh of about six peers, and a message that is new
goes to all of them. Peers outside the mesh are told now and then which messages we have (IHAVE) and
may ask for them (IWANT), so that a message that found no way through the mesh is found anyhow.
Grafting and pruning keep the mesh between its bounds; scores keep those who misbehave out of it.

Time and chance are arguments. `outgoing` collects what has to be sent.
Spec: specs/gossip/gossip-v1.md.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fogp2p.errors import LimitExceeded, RemoteProtocolError
from fogp2p.ids import PeerId

from .cache import MessageCache, Seen
from .config import (
    FANOUT_TTL_S,
    GOSSIP_THRESHOLD,
    GRAYLIST_THRESHOLD,
    IDONTWANT_FROM_BYTES,
    IDONTWANT_HEARTBEATS,
    IWANT_FOLLOWUP_S,
    MAX_BACKOFF_S,
    MAX_HAS,
    MAX_IDONTWANT_PER_HEARTBEAT,
    MAX_IDS,
    MAX_IHAVE_PER_HEARTBEAT,
    MAX_OWN_TOPICS,
    MAX_TOPICS_PER_PEER,
    OPPORTUNISTIC_PEERS,
    OPPORTUNISTIC_THRESHOLD,
    PRUNE_BACKOFF_S,
    PUBLISH_THRESHOLD,
    SILENT_REPLACED,
    UNSUBSCRIBE_BACKOFF_S,
    GossipConfig,
)
from .messages import Envelope, Have, Prune, Rpc, Subscription
from .rates import Rates
from .scores import Scores
from .silence import Silence
from .stats import Tally

__all__ = ["Router"]


class Chance(Protocol):
    """The part of `random.Random` that is used."""

    def shuffle(self, x: Any) -> None:
        """Put a list into random order."""
        ...

    def sample(self, population: Sequence[Any], k: int) -> list[Any]:
        """`k` different items."""
        ...


@dataclass(slots=True)
class _Peer:
    is_outbound: bool
    topics: set[str] = field(default_factory=set)
    speaks_idontwant: bool = False
    ihaves: int = 0
    asked: int = 0
    idontwants: int = 0
    # Ids of messages that it has, with the heartbeat that saw it.
    has: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def shows(self, name: bytes, beat: int) -> None:
        """It said so, or sent us the message."""
        self.has[name] = beat
        if len(self.has) > MAX_HAS:
            self.has.popitem(last=False)


class Router:
    """One side of every conversation."""

    def __init__(
        self, own: PeerId, config: GossipConfig, source: Chance, wall_s: float = 0.0
    ) -> None:
        """`wall_s`: what has to be added to `now` to get seconds since 1970."""
        self.scores = Scores()
        self.rates = Rates(config)
        self.tally = Tally()
        self.seen = Seen(wall_s)
        self.cache = MessageCache()
        self.mesh: dict[str, set[PeerId]] = {}
        self.outgoing: list[tuple[PeerId, Rpc]] = []
        self._own = own
        self._config = config
        self._random = source
        self._peers: dict[PeerId, _Peer] = {}
        self._fanout: dict[str, tuple[set[PeerId], float]] = {}
        self._backoff: dict[str, dict[PeerId, float]] = defaultdict(dict)
        self._promises: dict[tuple[PeerId, bytes], float] = {}
        self._silence = Silence()
        self._beats = 0

    # --- peers and topics ------------------------------------------------------------------------

    def came(
        self,
        peer: PeerId,
        *,
        is_outbound: bool,
        address: str,
        now: float,
        speaks_idontwant: bool = False,
    ) -> None:
        """A peer that speaks gossipsub is connected. `address` as in `Scores.came`."""
        self._peers[peer] = _Peer(is_outbound, speaks_idontwant=speaks_idontwant)
        self.scores.came(peer, address, now)
        if self.mesh:
            topics = tuple(Subscription(topic, True) for topic in self.mesh)
            self._send(peer, Rpc(subscriptions=topics))

    def went(self, peer: PeerId, now: float) -> None:
        """It is gone, and everything it subscribed to with it."""
        if self._peers.pop(peer, None) is None:
            return
        for topic, members in self.mesh.items():
            members.discard(peer)
            self._silence.left(topic, peer)
        self.rates.forget_peer(peer)
        for members, _ in self._fanout.values():
            members.discard(peer)
        self._promises = {key: at for key, at in self._promises.items() if key[0] != peer}
        self.scores.went(peer, now)

    def subscribe(self, topic: str, now: float) -> None:
        """Join a topic. Raises LimitExceeded for more than 100."""
        if topic in self.mesh:
            return
        if len(self.mesh) >= MAX_OWN_TOPICS:
            raise LimitExceeded(f"at most {MAX_OWN_TOPICS} topics")
        members, _ = self._fanout.pop(topic, (set(), 0.0))
        good = {peer for peer in members if self._score(peer, now) >= 0}
        self.mesh[topic] = set()
        self._tell_all(Subscription(topic, True))
        more = self._candidates(topic, now, exclude=good)
        for peer in [*sorted(good), *more][: self._config.d]:
            self._graft(peer, topic, now)

    def unsubscribe(self, topic: str, now: float) -> None:
        """Leave a topic."""
        self._silence.forget(topic)
        self.rates.forget_topic(topic)
        for peer in sorted(self.mesh.pop(topic, set())):
            self.scores.pruned(peer, topic)
            self._backoff[topic][peer] = now + UNSUBSCRIBE_BACKOFF_S
            self._send(peer, Rpc(prune=(Prune(topic, int(UNSUBSCRIBE_BACKOFF_S)),)))
        self._tell_all(Subscription(topic, False))

    def peers_of(self, topic: str) -> list[PeerId]:
        """Who subscribed to `topic`."""
        return sorted(peer for peer, state in self._peers.items() if topic in state.topics)

    def is_muted(self, peer: PeerId, now: float) -> bool:
        """Whether nothing that it says is worth reading."""
        return not self.scores.is_clean(peer) and self._score(peer, now) < GRAYLIST_THRESHOLD

    def has(self, peer: PeerId, name: bytes) -> bool:
        """Whether `peer` showed lately that it has this message."""
        state = self._peers.get(peer)
        return state is not None and name in state.has

    @property
    def peer_count(self) -> int:
        """Connected peers that speak gossipsub."""
        return len(self._peers)

    # --- messages --------------------------------------------------------------------------------

    def publish(self, envelope: Envelope, now: float) -> int:
        """Spread a message of our own; to how many peers it goes at once."""
        self.seen.add(envelope.id, now)
        self.cache.put(envelope)
        targets, rpc = self._targets(envelope.topic, now), Rpc(publish=(envelope,))
        for peer in targets:
            self._send(peer, rpc)
        return len(targets)

    def receive(self, peer: PeerId, rpc: Rpc, now: float) -> list[Envelope]:
        """Take an RPC; return the messages in it that are new and wanted, to be verified.

        Say `accept`, `reject` or `ignore` of each. Raises RemoteProtocolError("gossip-topics")
        for more than 100 topics.
        """
        state = self._peers.get(peer)
        if state is None or self.is_muted(peer, now):
            return []
        for subscription in rpc.subscriptions:
            self._take_subscription(peer, state, subscription)
        for have in rpc.ihave:
            self._take_ihave(peer, state, have, now)
        if rpc.iwant:
            self._take_iwant(peer, rpc.iwant, now)
        for topic in rpc.graft:
            self._take_graft(peer, state, topic, now)
        for prune in rpc.prune:
            self._take_prune(peer, prune, now)
        if rpc.idontwant:
            self._take_idontwant(peer, state, rpc.idontwant)
        self.tally.drop("unusable", rpc.unusable)
        for name in rpc.known:
            self._take_duplicate(state, name)
        return [envelope for envelope in rpc.publish if self._is_new(peer, state, envelope, now)]

    def _take_duplicate(self, state: _Peer, name: bytes) -> None:
        self.tally.count("duplicates")
        state.shows(name, self._beats)

    def _is_new(self, peer: PeerId, state: _Peer, envelope: Envelope, now: float) -> bool:
        """The cheap questions, before anything is verified."""
        if envelope.topic not in self.mesh or envelope.author == self._own:
            return False
        if envelope.id in self.seen:
            self._take_duplicate(state, envelope.id)
            return False
        if not self.rates.of_peer(peer, now):
            self.tally.drop("peer-rate")
            return False
        return True

    def accept(self, envelope: Envelope, relay: PeerId, now: float) -> bool:
        """It is genuine and valid: pass it on. False when it was a duplicate after all."""
        if not self.seen.add(envelope.id, now):
            return False
        self._kept_promise(envelope.id)
        self.cache.put(envelope)
        if relay in self._peers:
            self.scores.delivered_first(relay, now)
            self._peers[relay].shows(envelope.id, self._beats)
        self._silence.heard(envelope.topic, relay, is_author=relay == envelope.author)
        rpc, others = Rpc(publish=(envelope,)), self._not_having(envelope, relay)
        if len(envelope.data) >= IDONTWANT_FROM_BYTES:
            told = Rpc(idontwant=(envelope.id,))
            for peer in others:
                if self._peers[peer].speaks_idontwant:
                    self.tally.count("idontwant_sent")
                    self._send(peer, told)
        for peer in others:
            self._send(peer, rpc)
        return True

    def _not_having(self, envelope: Envelope, relay: PeerId) -> list[PeerId]:
        """Members of the mesh to whom the message is news."""
        return [
            peer
            for peer in sorted(self.mesh.get(envelope.topic, ()))
            if peer not in (relay, envelope.author) and not self.has(peer, envelope.id)
        ]

    def reject(self, envelope: Envelope, relay: PeerId, now: float, *, forged: bool) -> None:
        """A validator refused it, or its signature is false.

        A forged id is not remembered: the genuine message of that id may still come.
        """
        if not forged:
            self.seen.add(envelope.id, now)
            self._kept_promise(envelope.id)
        if relay in self._peers:
            self.scores.sent_invalid(relay, now, forged=forged)

    def ignore(self, envelope: Envelope, now: float) -> None:
        """Nobody's fault, and not passed on."""
        self.seen.add(envelope.id, now)
        self._kept_promise(envelope.id)

    # --- control ---------------------------------------------------------------------------------

    def _take_subscription(self, peer: PeerId, state: _Peer, subscription: Subscription) -> None:
        topic = subscription.topic
        if not subscription.wanted:
            state.topics.discard(topic)
            if peer in self.mesh.get(topic, ()):
                self._drop(peer, topic)
            return
        if topic not in state.topics and len(state.topics) >= MAX_TOPICS_PER_PEER:
            raise RemoteProtocolError("more than 100 topics", code="gossip-topics")
        state.topics.add(topic)

    def _take_ihave(self, peer: PeerId, state: _Peer, have: Have, now: float) -> None:
        state.ihaves += 1
        if (
            have.topic not in self.mesh
            or self._score(peer, now) < GOSSIP_THRESHOLD
            or state.ihaves > MAX_IHAVE_PER_HEARTBEAT
        ):
            return
        wanted = [name for name in have.ids if name not in self.seen][: MAX_IDS - state.asked]
        if not wanted:
            return
        state.asked += len(wanted)
        self.tally.count("asked", len(wanted))
        self._random.shuffle(wanted)
        # One of them has to come: who promises and does not deliver is noticed.
        self._promises.setdefault((peer, wanted[0]), now + IWANT_FOLLOWUP_S)
        self._send(peer, Rpc(iwant=tuple(wanted)))

    def _take_iwant(self, peer: PeerId, names: Iterable[bytes], now: float) -> None:
        if self._score(peer, now) < GOSSIP_THRESHOLD:
            return
        for name in dict.fromkeys(names):
            envelope = self.cache.get(name, peer)
            if envelope is not None:
                self._send(peer, Rpc(publish=(envelope,)))

    def _take_idontwant(self, peer: PeerId, state: _Peer, names: Sequence[bytes]) -> None:
        self.tally.count("idontwant_received", len(names))
        room = max(0, MAX_IDONTWANT_PER_HEARTBEAT - state.idontwants)
        state.idontwants += len(names)
        self.tally.drop("idontwant-rate", max(0, len(names) - room))
        for name in names[:room]:
            state.shows(name, self._beats)

    def _take_graft(self, peer: PeerId, state: _Peer, topic: str, now: float) -> None:
        members = self.mesh.get(topic)
        if members is None or peer in members:
            return  # an unknown topic is not answered: that would be a reflector
        score = self._score(peer, now)
        until = self._backoff[topic].get(peer, 0.0)
        if until > now:
            self.scores.misbehaved(peer, now)
            self._prune(peer, topic, now)
        elif score < 0 or (len(members) >= self._config.d_high and not state.is_outbound):
            self._prune(peer, topic, now)
        else:
            state.topics.add(topic)
            members.add(peer)
            self._silence.joined(topic, peer)
            self.scores.grafted(peer, topic, now)

    def _take_prune(self, peer: PeerId, prune: Prune, now: float) -> None:
        if prune.topic not in self.mesh:
            return  # F3: nothing is stored for topics that are not ours
        wait = float(prune.backoff_s) if prune.backoff_s else PRUNE_BACKOFF_S
        until = now + min(wait, MAX_BACKOFF_S)
        known = self._backoff[prune.topic].get(peer, 0.0)
        self._backoff[prune.topic][peer] = max(known, until)
        if peer in self.mesh[prune.topic]:
            self._drop(peer, prune.topic)

    # --- heartbeat -------------------------------------------------------------------------------

    def heartbeat(self, now: float) -> None:
        """Once a second: mend the meshes, gossip, forget."""
        self._beats += 1
        self._judge_promises(now)
        for peer, state in self._peers.items():
            if state.idontwants > MAX_IDONTWANT_PER_HEARTBEAT:
                self.scores.misbehaved(peer, now)
            state.ihaves = state.asked = state.idontwants = 0
            while state.has and next(iter(state.has.values())) <= self._beats - (
                IDONTWANT_HEARTBEATS
            ):
                state.has.popitem(last=False)
        for topic in sorted(self.mesh):
            self._mend(topic, now)
            self._gossip(topic, self.mesh[topic], now)
        for topic in sorted(self._fanout):
            members, used_at = self._fanout[topic]
            if used_at + FANOUT_TTL_S <= now:
                del self._fanout[topic]
            else:
                self._gossip(topic, members, now)
        self.cache.shift()
        self.seen.expire(now)
        self.scores.expire(now)
        self._expire_backoff(now)

    def _mend(self, topic: str, now: float) -> None:
        config, members = self._config, self.mesh[topic]
        for peer in sorted(members):
            if self._score(peer, now) < 0:
                self._prune(peer, topic, now)
        if config.replace_silent and self._silence.is_failing(topic):
            self._replace_silent(topic, now)
        if len(members) < config.d_low:
            for peer in self._candidates(topic, now)[: config.d - len(members)]:
                self._graft(peer, topic, now)
        elif len(members) > config.d_high:
            self._shrink(topic, now)
        self._keep_own_choices(topic, now)
        if self._beats % config.opportunistic_every == 0 and len(members) > 1:
            self._look_for_better(topic, now)

    def _shrink(self, topic: str, now: float) -> None:
        """Keep the best, enough that we dialled ourselves, and chance decides the rest."""
        config, members = self._config, self.mesh[topic]
        shuffled = sorted(members)
        self._random.shuffle(shuffled)
        ranked = sorted(shuffled, key=lambda peer: -self._score(peer, now))
        rest = ranked[config.d_score :]
        self._random.shuffle(rest)
        keep = [*ranked[: config.d_score], *rest]
        out = [peer for peer in keep[: config.d] if self._peers[peer].is_outbound]
        missing = config.d_out - len(out)
        if missing > 0:
            more = [peer for peer in keep[config.d :] if self._peers[peer].is_outbound][:missing]
            keep = [*more, *(peer for peer in keep if peer not in more)]
        for peer in keep[config.d :]:
            self._prune(peer, topic, now)

    def _keep_own_choices(self, topic: str, now: float) -> None:
        """Against an eclipse by those who dial us: at least two of the mesh we dialled."""
        members = self.mesh[topic]
        out = sum(self._peers[peer].is_outbound for peer in members)
        if len(members) >= self._config.d_low and out < self._config.d_out:
            outbound = [p for p in self._candidates(topic, now) if self._peers[p].is_outbound]
            for peer in outbound[: self._config.d_out - out]:
                self._graft(peer, topic, now)

    def _look_for_better(self, topic: str, now: float) -> None:
        median = statistics.median(self._score(peer, now) for peer in self.mesh[topic])
        if median < OPPORTUNISTIC_THRESHOLD:
            better = [p for p in self._candidates(topic, now) if self._score(p, now) > median]
            for peer in better[:OPPORTUNISTIC_PEERS]:
                self._graft(peer, topic, now)

    def _replace_silent(self, topic: str, now: float) -> None:
        """The mesh does not bring what there is: others instead of those who bring nothing.

        Those who answered when we asked come first. Nobody is punished: a peer behind us may have
        nothing to bring.
        """
        candidates = sorted(self._candidates(topic, now), key=lambda peer: -self._score(peer, now))
        silent = self._silence.silent(topic, sorted(self.mesh[topic]))
        for peer in silent[:SILENT_REPLACED]:
            # Those we dialled make room for such only: an eclipse comes from those who dial us.
            fit = [p for p in candidates if self._is_outbound(p) or not self._is_outbound(peer)]
            if fit:
                candidates.remove(fit[0])
                self.tally.count("replaced")
                self._prune(peer, topic, now)
                self._graft(fit[0], topic, now)

    def _is_outbound(self, peer: PeerId) -> bool:
        return self._peers[peer].is_outbound

    def _gossip(self, topic: str, members: set[PeerId], now: float) -> None:
        names = self.cache.recent(topic)
        if not names:
            return
        others = [
            peer
            for peer in self.peers_of(topic)
            if peer not in members and self._score(peer, now) >= GOSSIP_THRESHOLD
        ]
        count = max(self._config.d_lazy, int(self._config.gossip_factor * len(others)))
        for peer in self._random.sample(others, min(count, len(others))):
            # Each gets its own choice of too many, so that together they hear of all.
            told = self._random.sample(names, min(len(names), MAX_IDS))
            self._send(peer, Rpc(ihave=(Have(topic, tuple(told)),)))

    def _judge_promises(self, now: float) -> None:
        for (peer, name), until in tuple(self._promises.items()):
            if until <= now:
                del self._promises[peer, name]
                if name not in self.seen and peer in self._peers:
                    self.scores.misbehaved(peer, now)

    def _kept_promise(self, name: bytes) -> None:
        for key in [key for key in self._promises if key[1] == name]:
            del self._promises[key]

    def _expire_backoff(self, now: float) -> None:
        for topic in tuple(self._backoff):
            waiting = {peer: at for peer, at in self._backoff[topic].items() if at > now}
            if waiting:
                self._backoff[topic] = waiting
            else:
                del self._backoff[topic]

    # --- small parts -----------------------------------------------------------------------------

    def _targets(self, topic: str, now: float) -> list[PeerId]:
        subscribed = self.peers_of(topic)
        good = [peer for peer in subscribed if self._score(peer, now) >= PUBLISH_THRESHOLD]
        if self._config.flood_publish:
            return good
        members = self.mesh.get(topic)
        if members is None:
            members, _ = self._fanout.get(topic, (set(), now))
            wanted = [peer for peer in good if peer not in members]
            self._random.shuffle(wanted)
            members |= set(wanted[: max(0, self._config.d - len(members))])
            self._fanout[topic] = (members, now)
        return sorted(members)

    def _candidates(self, topic: str, now: float, exclude: Iterable[PeerId] = ()) -> list[PeerId]:
        """Who may be grafted, in random order."""
        out = set(exclude) | self.mesh.get(topic, set())
        waiting = self._backoff.get(topic, {})
        found = [
            peer
            for peer in self.peers_of(topic)
            if peer not in out and waiting.get(peer, 0.0) <= now and self._score(peer, now) >= 0
        ]
        self._random.shuffle(found)
        return found

    def _graft(self, peer: PeerId, topic: str, now: float) -> None:
        self.mesh[topic].add(peer)
        self._silence.joined(topic, peer)
        self.scores.grafted(peer, topic, now)
        self._send(peer, Rpc(graft=(topic,)))

    def _prune(self, peer: PeerId, topic: str, now: float) -> None:
        if peer in self.mesh[topic]:
            self._drop(peer, topic)
        self._backoff[topic][peer] = now + PRUNE_BACKOFF_S
        self._send(peer, Rpc(prune=(Prune(topic, int(PRUNE_BACKOFF_S)),)))

    def _drop(self, peer: PeerId, topic: str) -> None:
        self.mesh[topic].discard(peer)
        self._silence.left(topic, peer)
        self.scores.pruned(peer, topic)

    def _score(self, peer: PeerId, now: float) -> float:
        return self.scores.score(peer, now)

    def _send(self, peer: PeerId, rpc: Rpc) -> None:
        self.outgoing.append((peer, rpc))

    def _tell_all(self, subscription: Subscription) -> None:
        rpc = Rpc(subscriptions=(subscription,))
        for peer in sorted(self._peers):
            self._send(peer, rpc)
