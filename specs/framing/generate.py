"""Print the vectors of specs/framing.

Run `python specs/framing/generate.py DIRECTORY`; CI compares the result with the files kept here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame

VALID: Final[dict[str, list[bytes]]] = {
    "one empty frame": [b""],
    "one byte": [b"a"],
    "127 bytes: one-byte length": [bytes(range(127))],
    "128 bytes: two-byte length": [bytes(range(128))],
    "several": [b"one", b"", b"three" * 30],
}
# name -> (limit, stream)
INVALID: Final[dict[str, tuple[int, str]]] = {
    "larger than the limit by one": (16, "11" + "00" * 17),
    "larger than the limit, length alone": (16, "808001"),
    "length zero in two bytes": (16, "8000"),
    "length five in two bytes": (16, "8500"),
    "varint of ten bytes": (16, "80808080808080808001"),
    "varint that never ends": (16, "ff" * 20),
    "2^63 - 1": (16, "ffffffffffffffff7f"),
}


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    valid = [
        {
            "name": name,
            "stream": b"".join(map(encode_frame, frames)).hex(),
            "frames": [frame.hex() for frame in frames],
        }
        for name, frames in VALID.items()
    ]
    invalid = [_refused(name, limit, stream) for name, (limit, stream) in INVALID.items()]
    text = json.dumps({"valid": valid, "invalid": invalid}, indent=1, sort_keys=True) + "\n"
    (target / "frames.json").write_text(text, encoding="ascii")


def _refused(name: str, limit: int, stream: str) -> dict[str, Any]:
    decoder = FrameDecoder(max_bytes=limit)
    decoder.receive_data(bytes.fromhex(stream))
    try:
        while decoder.next_frame() is not None:
            pass
    except RemoteProtocolError as exc:
        return {"name": name, "limit": limit, "stream": stream, "code": exc.code}
    raise AssertionError(f"an invalid vector was accepted: {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
