"""Who announced what: a bounded store of provider records. Pure; time is an argument."""

from __future__ import annotations

from collections import Counter, OrderedDict

from fogp2p.ids import PeerId

from .config import (
    MAX_KEYS_PER_PROVIDER,
    MAX_PROVIDED_KEYS,
    MAX_PROVIDERS_PER_KEY,
    PROVIDER_TTL_S,
)

__all__ = ["ProviderStore"]


class ProviderStore:
    """Keys to providers. The key that was announced longest ago makes room for a new one."""

    def __init__(self) -> None:
        self._keys: OrderedDict[bytes, dict[PeerId, float]] = OrderedDict()
        self._held: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, provider: PeerId, now: float) -> bool:
        """Remember for 48 hours that `provider` has `key`; False when it holds too many keys."""
        holders = self._keys.get(key, {})
        if provider not in holders and self._held[provider] >= MAX_KEYS_PER_PROVIDER:
            return False
        if key not in self._keys:
            self._keys[key] = holders
        if provider not in holders:
            self._held[provider] += 1
        holders.pop(provider, None)
        holders[provider] = now + PROVIDER_TTL_S
        self._keys.move_to_end(key)
        if len(holders) > MAX_PROVIDERS_PER_KEY:
            self._forget(key, next(iter(holders)))
        while len(self._keys) > MAX_PROVIDED_KEYS:
            oldest = next(iter(self._keys))
            for each in tuple(self._keys[oldest]):
                self._forget(oldest, each)
        return True

    def get(self, key: bytes, now: float) -> list[PeerId]:
        """The providers of `key`, the latest announcement first."""
        for provider, expires_at in tuple(self._keys.get(key, {}).items()):
            if expires_at <= now:
                self._forget(key, provider)
        return list(reversed(self._keys.get(key, {})))

    def expire(self, now: float) -> None:
        """Drop everything that has expired."""
        for key in tuple(self._keys):
            self.get(key, now)

    def _forget(self, key: bytes, provider: PeerId) -> None:
        holders = self._keys[key]
        del holders[provider]
        self._held[provider] -= 1
        if not self._held[provider]:
            del self._held[provider]
        if not holders:
            del self._keys[key]
