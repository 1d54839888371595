"""Make interop/RESULTS.md of a run of tests/interop: `results.py JUNIT.xml`, on standard output.

The rows stand here, not in the run: what a run did not reach shows as that, never as a gap.
"""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
_BASICS: Final = ("identify", "ping", "echo", "echo of 20 MB")
_GOSSIP: Final = ("gossip, ours to them", "gossip, theirs to us")
_MDNS: Final = {
    "mDNS, we found and dialled them": "we find them",
    "mDNS, they found us": "they find us",
}
# (test, direction, features)
_MATRIX: Final = (
    ("test_we_dial", "we dial", _BASICS),
    ("test_they_dial_us", "they dial us", _BASICS),
    ("test_gossip_when_we_dial", "we dial", _GOSSIP),
    ("test_gossip_when_they_dial", "they dial us", _GOSSIP),
    ("test_we_find_them_on_the_lan_and_they_find_us", "", tuple(_MDNS)),
)
_IMPLEMENTATIONS: Final = {"js": "js-libp2p", "go": "go-libp2p"}
_STOCK: Final = {
    "test_we_dial_the_stock_library[ed25519]": "identify, ping, echo; Ed25519 keys; we dial",
    "test_we_dial_the_stock_library[secp256k1]": "the same; secp256k1 keys; we dial",
    "test_the_stock_library_dials_us": "ping, echo; it dials us",
    "test_messages_go_both_ways_with_the_stock_library": "gossip, a message each way; we dial",
    "test_peers_and_providers_are_found_through_each_other": "Kad-DHT: find_peer, provide",
}
_NOT_COVERED: Final = """\
* rust-, nim- and jvm-libp2p were not run.
* TCP with Noise and yamux only: our host offers no QUIC, WebSocket, WebTransport, WebRTC, TLS,
  mplex.
* The Kad-DHT with js and go (ours has its own protocol id; only the stock Python library is asked).
* Relay, hole punching, AutoNAT and peer exchange. (Gossipsub 1.2 is.)
* Two machines, loss and latency: everything ran on one machine, over loopback or a virtual LAN.
* The `/fog/` protocols: nobody else speaks them yet. `fogp2p conformance` checks whoever does.
"""


class Case:
    """One test of the run."""

    def __init__(self, element: ElementTree.Element) -> None:
        found = (
            (str(each.get("name")), str(each.get("value"))) for each in element.iter("property")
        )
        self.passed = dict(found)
        self.skipped = _message(element.find("skipped"))
        fault = element.find("failure")
        self.failed = _message(fault if fault is not None else element.find("error"))

    def result(self, feature: str) -> tuple[str, str]:
        """(result, figure or reason) of one feature that the test goes through."""
        if feature in self.passed:
            return "pass", self.passed[feature]
        return self.whole("no figure was noted")

    def whole(self, otherwise: str) -> tuple[str, str]:
        """The result of the test as a whole."""
        if self.skipped:
            return "SKIPPED", self.skipped
        if self.failed:
            return "FAIL", self.failed
        return ("pass", "") if not otherwise else ("FAIL", otherwise)


def _message(element: ElementTree.Element | None) -> str:
    if element is None:
        return ""
    return str(element.get("message") or "no reason").splitlines()[0][:160].replace("|", "/")


def main(path: str) -> None:
    tree = ElementTree.parse(path)
    cases = {str(each.get("name")): Case(each) for each in tree.iter("testcase")}
    print("# Interoperability\n")
    print(
        "Written by `make interop` (interop/results.py) from a run of `tests/interop`; do not edit."
    )
    print("\n## This run\n")
    _table(("what", "version"), _versions())
    print("\n## js-libp2p and go-libp2p\n")
    print(
        "Figures are taken at the receiver: an echo is compared byte by byte by whoever sent it,\n"
        "a message counts where it was delivered, after its signature was verified.\n"
    )
    _table(("feature", "direction", "with", "result", "figure, or the reason"), _matrix(cases))
    print("\n## py-libp2p, as shipped\n")
    _table(("what", "result", "reason"), _stock(cases))
    print("\n## Not covered\n")
    print(_NOT_COVERED, end="")


def _versions() -> list[tuple[str, str]]:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return [
        ("date", today),
        ("fogp2p", f"{version('fogp2p')} ({_said('git', 'describe', '--always', '--dirty')})"),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("py-libp2p", version("libp2p")),
        *_js(),
        *_go(),
    ]


def _js() -> list[tuple[str, str]]:
    modules = HERE / "js" / "node_modules"
    if not modules.is_dir():
        return [("js-libp2p", "not built")]
    wanted = json.loads((HERE / "js" / "package.json").read_text("utf-8"))["dependencies"]
    installed = {
        name: json.loads((modules / name / "package.json").read_text("utf-8"))["version"]
        for name in wanted
    }
    others = ", ".join(
        f"{name} {number}" for name, number in installed.items() if name not in ("libp2p", "node")
    )
    return [
        ("js-libp2p", f"{installed['libp2p']} (Node {installed['node']})"),
        ("its packages", others),
    ]


def _go() -> list[tuple[str, str]]:
    binary = HERE / "go" / "bin" / "peer"
    if not binary.is_file():
        return [("go-libp2p", "not built")]
    lines = [line.split() for line in _said("go", "version", "-m", str(binary)).splitlines()]
    built = {words[1]: words[2] for words in lines if words[:1] == ["dep"]}
    root = "github.com/libp2p/"
    return [
        ("go-libp2p", f"{built[root + 'go-libp2p']} ({lines[0][-1]})"),
        ("its pubsub", built[root + "go-libp2p-pubsub"]),
    ]


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _matrix(cases: dict[str, Case]) -> list[tuple[str, ...]]:
    rows = []
    for short, name in _IMPLEMENTATIONS.items():
        for test, direction, features in _MATRIX:
            case = cases.get(f"{test}[{short}]")
            for feature in features:
                result = case.result(feature) if case is not None else ("NOT RUN", "")
                label = feature.partition(",")[0] if feature in _MDNS else feature
                rows.append((label, direction or _MDNS[feature], name, *result))
    return rows


def _stock(cases: dict[str, Case]) -> list[tuple[str, ...]]:
    return [
        (what, *(cases[test].whole("") if test in cases else ("NOT RUN", "")))
        for test, what in _STOCK.items()
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    for row in (head, ("---",) * len(head), *rows):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main(sys.argv[1])
