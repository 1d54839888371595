"""Check the vectors of every specification with readers that share no code with the library.

`python tests/conformance/readers/run.py [SPECS]`, as an implementer in another language would
begin: each reader is written from the specification's text alone. It needs cbor2, cryptography,
pynacl, base58 and spake2. Exit status 1 for any difference, and for a specification that nobody
reads.
"""

import importlib
import sys
from pathlib import Path

READERS = (
    *(
        "bitchat",
        "blob",
        "codec",
        "echo",
        "framing",
        "gossip",
        "invite",
        "log",
        "lottery",
        "mix",
        "noise",
    ),
    *("registry", "versioning"),
)
WITHOUT_VECTORS = {
    "backup": "a file of one peer's own, made and read by the same program",
    "identity": "a file of one peer's own, sealed with its passphrase: no other program reads it",
    "kad": "the messages are those of libp2p/specs kad-dht, which publishes no vectors",
    "peerbook": "a file of one peer's own: no other program reads it",
    "sandbox": "no bytes travel; the processes of one peer are tested as they run",
}


def main(specs: Path) -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    faults = 0
    for folder in sorted(path for path in specs.iterdir() if any(path.glob("*-v*.md"))):
        name, vectors = folder.name, folder / "vectors" / "v1"
        if name in READERS:
            count = importlib.import_module(name).check(vectors)
            sys.stdout.write(f"{name}: {count} cases agree\n")
            faults += count == 0
        elif name in WITHOUT_VECTORS and not vectors.is_dir():
            sys.stdout.write(f"{name}: no vectors: {WITHOUT_VECTORS[name]}\n")
        else:
            sys.stdout.write(f"{name}: NOBODY READS IT: write a reader, or say why there is none\n")
            faults += 1
    assert not any(name.split(".")[0] == "fogp2p" for name in sys.modules)
    return 1 if faults else 0


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[3]
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else root / "specs"))
