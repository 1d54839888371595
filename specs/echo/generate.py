"""Print the vectors of specs/echo.

Run `python specs/echo/generate.py DIRECTORY`; CI compares the result with the files kept here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_frame
from fogp2p.ids import Version
from fogp2p.protocols.echo.machine import MAX_MESSAGE_BYTES, V1_0, V1_1, Echo

STREAMS: Final[dict[str, list[bytes]]] = {
    "nothing": [],
    "an empty message": [b""],
    "three messages": [b"fog", b"", b"over the river"],
    "two hundred bytes": [bytes(range(200))],
}


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    valid = [
        _answered(name, messages, version)
        for version in (V1_0, V1_1)
        for name, messages in STREAMS.items()
    ]
    document = {"valid": valid, "invalid": [_refused()]}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (target / "streams.json").write_text(text, encoding="ascii")


def _answered(name: str, messages: list[bytes], version: Version) -> dict[str, Any]:
    sent = b"".join(map(encode_frame, messages))
    return {
        "name": f"{name}, {version}",
        "protocol": f"/fog/echo/{version}.0",
        "sent": sent.hex(),
        "answered": Echo(version).receive_data(sent).hex(),
    }


def _refused() -> dict[str, Any]:
    head = b"\x81\x80\x04"
    assert encode_frame(bytes(MAX_MESSAGE_BYTES + 1))[:3] == head
    try:
        Echo(V1_1).receive_data(head)
    except RemoteProtocolError as exc:
        return {"name": "65,537 bytes", "sent": head.hex(), "code": exc.code}
    raise AssertionError("a message that is too long was accepted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
