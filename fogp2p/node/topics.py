"""Topics that outlive the gossip service: what was subscribed is subscribed again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

from fogp2p.events import EventHub, Gap
from fogp2p.host import Message, PubSub, Subscription, Validator
from fogp2p.supervisor import Supervisor
from fogp2p.tasks import open_tasks

__all__ = ["Topics"]


@dataclass(slots=True)
class _Topic:
    """One topic with listeners here, and what connects it to the gossip of the moment."""

    hub: EventHub[Message | Gap] = field(default_factory=EventHub)
    listeners: int = 0
    inside: ExitStack = field(default_factory=ExitStack)
    task: trio.CancelScope = field(default_factory=trio.CancelScope)


class Topics(PubSub):
    """What a program gets as `node.pubsub`.

    While gossip is down, `publish` and `subscribe` raise ServiceDown. A subscription made before
    goes on afterwards, beginning with a `Gap` of 0: nobody knows how much was missed.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._topics: dict[str, _Topic] = {}
        self._validators: dict[str, Validator] = {}
        self._nursery: trio.Nursery | None = None

    async def publish(self, topic: str, data: bytes) -> None:
        await self._gossip().publish(topic, data)

    def subscribe(self, topic: str) -> AbstractContextManager[Subscription]:
        return self._subscribed(topic)

    def set_validator(self, topic: str, validator: Validator | None) -> None:
        if validator is None:
            self._validators.pop(topic, None)
        else:
            self._validators[topic] = validator
        if self._supervisor.is_ready("gossip"):
            self._gossip().set_validator(topic, validator)

    @asynccontextmanager
    async def on(self, gossip: PubSub) -> AsyncIterator[None]:
        """Use `gossip` while the context lasts."""
        for name, validator in self._validators.items():
            gossip.set_validator(name, validator)
        async with open_tasks() as nursery:
            self._nursery = nursery
            try:
                for name, topic in self._topics.items():
                    topic.hub.publish(Gap(0))
                    self._join(name, topic, gossip)
                yield
            finally:
                self._nursery = None
                for topic in self._topics.values():
                    topic.inside.close()
                nursery.cancel_scope.cancel()

    def _gossip(self) -> PubSub:
        gossip: PubSub = self._supervisor.value("gossip")
        return gossip

    @contextmanager
    def _subscribed(self, name: str) -> Iterator[Subscription]:
        gossip = self._gossip()
        topic = self._topics.get(name)
        if topic is None:
            topic = _Topic()
            self._join(name, topic, gossip)
            self._topics[name] = topic
        topic.listeners += 1
        try:
            with topic.hub.listen() as messages:
                yield _Listener(messages)
        finally:
            topic.listeners -= 1
            if not topic.listeners:
                del self._topics[name]
                topic.task.cancel()
                topic.inside.close()

    def _join(self, name: str, topic: _Topic, gossip: PubSub) -> None:
        """Raises as `PubSub.subscribe`."""
        topic.inside, topic.task = ExitStack(), trio.CancelScope()
        messages = topic.inside.enter_context(gossip.subscribe(name))
        assert self._nursery is not None  # gossip is ready only inside `on`
        self._nursery.start_soon(self._forward, topic, topic.task, messages)

    async def _forward(
        self, topic: _Topic, scope: trio.CancelScope, messages: Subscription
    ) -> None:
        with scope:
            while True:
                topic.hub.publish(await messages.__anext__())


class _Listener:
    """The messages of a topic from now on."""

    def __init__(self, messages: AsyncIterator[Message | Gap]) -> None:
        self._messages = messages

    def __aiter__(self) -> _Listener:
        return self

    async def __anext__(self) -> Message | Gap:
        return await anext(self._messages)
