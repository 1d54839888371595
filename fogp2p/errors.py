"""Every error this library raises.

Two directions are kept apart, because they are answered differently:
`LocalProtocolError` and `ConfigError` mean that *this* program did something wrong and should be
mended; `RemoteProtocolError` and `TransportError` mean that a peer or the network did, and the
program carries on. No other exception type leaves the library on account of a peer's bytes.

`str(error)` says what happened; `error.hint` says what the reader can do next, and may be empty.
Neither ever contains key material.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "FogError",
    "ProtocolError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "TransportError",
    "Unreachable",
    "ProtocolRefused",
    "StreamClosed",
    "StreamReset",
    "DeadlineExceeded",
    "LimitExceeded",
    "ConfigError",
    "KeystoreError",
]


class FogError(Exception):
    """Base of all our errors. Catch this to catch everything we raise on purpose.

    `number` is the stable code a person can look up (`FOG-<AREA>-<NNN>`); it never changes its
    meaning between releases.
    """

    number: ClassVar[str] = "FOG-GEN-001"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes hand errors back; ours take keywords, which pickle does not know of.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[FogError], args: tuple[Any, ...], state: dict[str, Any]) -> FogError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ProtocolError(FogError):
    """The rules of a protocol were broken. Abstract: see the two subclasses."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        if type(self) is ProtocolError:
            raise TypeError("raise LocalProtocolError or RemoteProtocolError")
        super().__init__(message, hint=hint)
        self.code = code


class LocalProtocolError(ProtocolError):
    """This program asked for something the protocol forbids. Mend the caller.

    The object that raised it is unchanged and stays usable.
    """

    number = "FOG-PROTO-001"


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules; `code` is a stable kebab-case word of the protocol's spec.

    The object that raised it is dead: close the stream. `close_hint` says how:
    `"reset"` (the default) or `"disconnect"` when the whole connection cannot be trusted.
    """

    number = "FOG-PROTO-002"

    def __init__(
        self, message: str, *, code: str, close_hint: str = "reset", hint: str = ""
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.close_hint = close_hint


class TransportError(FogError):
    """The network or the peer's process failed. Try again, elsewhere or later."""

    number = "FOG-NET-001"


class Unreachable(TransportError):
    """No address of the peer could be connected; `attempts` pairs each address with its failure."""

    number = "FOG-NET-002"

    def __init__(
        self, message: str, *, attempts: tuple[tuple[str, str], ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.attempts = attempts


class ProtocolRefused(TransportError):
    """The peer is connected but speaks none of the protocols asked for, or they are not agreed."""

    number = "FOG-NET-003"


class StreamClosed(TransportError):
    """The stream, or our half of it, was closed before this call. It stays closed."""

    number = "FOG-NET-004"


class StreamReset(TransportError):
    """The stream ended abruptly: reset by either side, or its connection died. Data may be lost."""

    number = "FOG-NET-005"


class DeadlineExceeded(TransportError):
    """The deadline passed before the operation finished; it was given up and undone."""

    number = "FOG-NET-006"


class LimitExceeded(FogError):
    """A named limit of `fogp2p.limits` or of a room's config stood in the way.

    The caller may wait until something is freed, or raise the limit in the configuration.
    """

    number = "FOG-LIM-001"


class ConfigError(FogError):
    """The configuration is wrong; the message names the file, variable or flag to mend."""

    number = "FOG-CONF-001"


class KeystoreError(FogError):
    """The keystore is missing, unreadable, damaged, locked or open to others. The owner acts."""

    number = "FOG-KEY-001"
