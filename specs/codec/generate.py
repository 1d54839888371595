"""Print the vectors of specs/codec.

Run `python specs/codec/generate.py DIRECTORY`; CI compares the result with the files kept here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError

# name -> (value, its diagnostic notation as in RFC 8949 section 8)
VALID: Final[dict[str, tuple[Any, str]]] = {
    "zero": (0, "0"),
    "largest one-byte integer": (23, "23"),
    "first two-byte integer": (24, "24"),
    "largest integer": (2**64 - 1, "18446744073709551615"),
    "smallest integer": (-(2**64), "-18446744073709551616"),
    "empty text": ("", '""'),
    "text": ("Nebel \u2601", '"Nebel \u2601"'),
    "bytes": (b"\x00\xff", "h'00ff'"),
    "constants": ([True, False, None], "[true, false, null]"),
    "integer keys before text keys": ({"a": 1, 10: 2, -1: 3}, '{10: 2, -1: 3, "a": 1}'),
    "shorter keys first": ({"aa": 1, "b": 2, "": 3}, '{"": 3, "b": 2, "aa": 1}'),
    "sixteen levels": ([[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]], "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"),
}
INVALID: Final[dict[str, str]] = {
    "nothing": "",
    "integer longer than needed": "1817",
    "integer in eight bytes for no reason": "1b00000000ffffffff",
    "length longer than needed": "580100",
    "indefinite array": "9f01ff",
    "indefinite text": "7f6161ff",
    "break alone": "ff",
    "reserved length": "1c",
    "keys out of order": "a2616201616102",
    "longer key first": "a262616101616202",
    "key twice": "a201010102",
    "key is an array": "a18001",
    "key is bytes": "a1410101",
    "key is a boolean": "a1f501",
    "tag": "c000",
    "bignum": "c249010000000000000000",
    "half float": "f93c00",
    "double": "fb3ff0000000000000",
    "undefined": "f7",
    "simple value in two bytes": "f820",
    "text that is not UTF-8": "62c328",
    "text with a surrogate": "63eda080",
    "bytes behind the message": "0000",
    "string longer than the message": "4501",
    "array longer than the message": "82",
    "array of 2^64 - 1 items": "9bffffffffffffffff",
    "map of 2^32 pairs": "bb0000000100000000",
    "string of 2^63 bytes": "5b8000000000000000",
    "eighteen levels": "81" * 17 + "80",
    "ten thousand and one items": "992710" + "00" * 10_000,
    "larger than 256 KiB": "5a00040000" + "00" * 262_144,
}


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    document = {
        "valid": [
            {"name": name, "encoded": encode(value).hex(), "diagnostic": text}
            for name, (value, text) in VALID.items()
        ],
        "invalid": [_refused(name, text) for name, text in INVALID.items()],
    }
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (target / "messages.json").write_text(text, encoding="ascii")


def _refused(name: str, text: str) -> dict[str, Any]:
    data = bytes.fromhex(text)
    try:
        decode(data, schema=Schema.load("codec/v1.cddl", "message"))
    except RemoteProtocolError as exc:
        # Long ones are written as a head and a number of zero bytes.
        head = data.rstrip(b"\0") if len(data) > 64 else data
        return {
            "name": name,
            "encoded": head.hex(),
            "then_zeros": len(data) - len(head),
            "code": exc.code,
        }
    raise AssertionError(f"an invalid vector was accepted: {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
