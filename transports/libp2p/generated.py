"""The two messages that are libp2p's own generated code, loaded without the rest of libp2p.

`import libp2p` brings QUIC, TLS, DNS and two HTTP clients, of which nothing runs here: over half of
a peer's start and 30 MB of its memory. Importing any module inside it would run that first.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

__all__ = ["Identify", "NoiseHandshakePayload"]


def _load(path: str) -> Any:
    """The module in that file of the installed libp2p. Raises ImportError."""
    package = find_spec("libp2p")  # of a package that is in no other: nothing is run for it
    if package is None or package.origin is None:
        raise ImportError("libp2p is not installed", name="libp2p")
    file = Path(package.origin).parent / path
    spec = spec_from_file_location(f"{__name__}.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module", name="libp2p", path=str(file))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Identify: Final = _load("identity/identify/pb/identify_pb2.py").Identify
NoiseHandshakePayload: Final = _load("security/noise/pb/noise_pb2.py").NoiseHandshakePayload
