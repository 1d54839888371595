"""Reading the conformance vectors that are installed with the library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from fogp2p.errors import LocalProtocolError

__all__ = ["Vectors", "load_vectors"]


@dataclass(frozen=True, slots=True)
class Vectors:
    """One file: cases to accept, to refuse (each with its `code`), and whole exchanges."""

    name: str
    valid: tuple[dict[str, Any], ...]
    invalid: tuple[dict[str, Any], ...]
    transcript: tuple[dict[str, Any], ...]


def load_vectors(spec: str, version: str = "v1") -> dict[str, Vectors]:
    """All vector files of `specs/<spec>/vectors/<version>`, by file name without `.json`.

    Byte strings are hexadecimal. Raises LocalProtocolError("vectors") when there are none.
    """
    folder = files("fogp2p.specs").joinpath(f"{spec}/vectors/{version}")
    if not folder.is_dir():
        raise LocalProtocolError(f"no vectors {spec} {version}", code="vectors")
    found = {}
    for entry in folder.iterdir():
        if entry.name.endswith(".json"):
            document = json.loads(entry.read_text(encoding="utf-8"))
            name = entry.name.removesuffix(".json")
            kinds = (tuple(document.get(kind, ())) for kind in ("valid", "invalid", "transcript"))
            found[name] = Vectors(name, *kinds)
    return found
