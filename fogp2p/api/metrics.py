"""What Prometheus reads at /metrics: a registry of our own, nothing global."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import trio
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fogp2p.protocols.gossip import GossipStats

from .config import LAG_SAMPLE_S

__all__ = ["Metrics", "Sight"]

# The loop's own timer is good to about a millisecond; a second of lag is a fault already.
_LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_TIME_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is read at the moment of scraping. `services`: (name, running, restarts)."""

    peers_connected: int
    peers_agreed: int
    peers_wanted: int
    echo_messages: int
    echo_bytes: int
    uptime_s: float
    last_event: int
    subscribers: int
    services: Sequence[tuple[str, bool, int]]
    gossip: GossipStats | None
    """None while gossip is down."""


class Metrics:
    """Counts requests and the loop's lag; asks the peer for the rest when somebody scrapes."""

    media = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "fogp2p_api_requests",
            "Requests of the local API, by the path's template.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "fogp2p_api_request_seconds",
            "From the request's head to the end of the answer; event streams are not counted.",
            registry=self._registry,
            buckets=_TIME_BUCKETS,
        )
        self.lag = Histogram(
            "fogp2p_event_loop_lag_seconds",
            "How much later than asked for a sleeping task woke up.",
            registry=self._registry,
            buckets=_LAG_BUCKETS,
        )
        # Resident memory, open files, CPU time; reads /proc, so it shows nothing elsewhere.
        ProcessCollector(registry=self._registry)

    def look_at(self, look: Callable[[], Sight]) -> None:
        """Show what `look` sees. Call it once."""
        self._registry.register(_Peer(look))

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    async def sample_lag(self) -> None:
        """Measure for ever."""
        while True:
            asked = trio.current_time() + LAG_SAMPLE_S
            await trio.sleep_until(asked)
            self.lag.observe(max(0.0, trio.current_time() - asked))


class _Peer(Collector):
    def __init__(self, look: Callable[[], Sight]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not ask the peer

    def collect(self) -> Iterable[Metric]:
        seen = self._look()
        for name, about, value in (
            ("peers_connected", "Peers connected now.", seen.peers_connected),
            ("peers_agreed", "Peers with agreed versions.", seen.peers_agreed),
            ("peers_wanted", "Peers that are looked for.", seen.peers_wanted),
            ("echo_messages", "Messages echoed for others.", seen.echo_messages),
            ("echo_bytes", "Bytes echoed for others.", seen.echo_bytes),
            ("uptime_seconds", "Since the peer started.", seen.uptime_s),
            ("last_event", "Number of the newest event.", seen.last_event),
            ("event_streams", "Programs that follow events.", seen.subscribers),
        ):
            yield GaugeMetricFamily(f"fogp2p_{name}", about, value=value)
        up = GaugeMetricFamily("fogp2p_service_up", "1 while it runs.", labels=("service",))
        restarts = GaugeMetricFamily(
            "fogp2p_service_restarts", "Restarts since the start.", labels=("service",)
        )
        for service, running, count in seen.services:
            up.add_metric([service], float(running))
            restarts.add_metric([service], count)
        yield up
        yield restarts
        if seen.gossip is not None:
            yield from _gossip(seen.gossip)


def _gossip(stats: GossipStats) -> Iterable[Metric]:
    counts = GaugeMetricFamily(
        "fogp2p_gossip_messages", "Messages of topics since gossip started.", labels=("what",)
    )
    for what in ("published", "received", "duplicates", "verified", "delivered", "sent"):
        counts.add_metric([what], getattr(stats, what))
    yield counts
    drops = GaugeMetricFamily(
        "fogp2p_gossip_drops", "What gossip dropped since it started.", labels=("reason",)
    )
    for reason, count in stats.drops.items():
        drops.add_metric([reason], count)
    yield drops
