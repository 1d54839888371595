"""Does what a page tells its reader to do, and sees what the page promises.

| block | what happens |
|---|---|
| `sh` | each line is typed into a shell and has to end with 0 |
| `sh other` | the same on the other machine |
| `console` | lines after `$` are typed, and must print the lines below them, in order |
| `python` | runs as a program; with tests in it, under pytest |
| `python NAME.py` | is saved under that name; a later line has to use it |
| `toml` | is a configuration without mistakes |
| `json` | is JSON |
| `text`, `mermaid` | are only looked at by people |

In expected output `...` stands for anything, numbers for any number, and blanks for any blanks.
Values such as an invite's words are replaced by those that were really printed (tables.py).
Nothing leaves the machine: peers listen on loopback and use a multicast service of their own.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from fogp2p.config import load_config
from fogp2p.environment import real_environment
from fogp2p.errors import ConfigError

from .machine import Machine, PageFailed
from .markdown import Block, Page
from .tables import ELSEWHERE, ENDS_WITH, PEER, PORTS, SAMPLES, UNTIL_INTERRUPTED

RUN = ("sh", "console", "python", "toml", "json")
SHOWN = ("text", "mermaid")
# The plugin is named, because an older installation does not announce it.
_PYTEST = "python -m pytest -q -p fogp2p.testing.plugin -p no:cacheprovider snippet.py"
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Reader:
    """Follows one page from its beginning to its end."""

    def __init__(self, page: Page) -> None:
        self._page = page
        # A socket's path may have 103 bytes, so that pytest's own directories are too deep.
        self._root = Path(tempfile.mkdtemp(prefix="fogdoc-", dir="/tmp"))
        self._machines: dict[str, Machine] = {}
        self._transcript: list[str] = []
        self._saved: set[str] = set()
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._multicast = _multicast_works()

    def follow(self) -> None:
        """Run every block. Raises PageFailed with the page's line."""
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self._root)
            stack.callback(lambda: [machine.close() for machine in self._machines.values()])
            for block in self._page.blocks:
                try:
                    self._block(block)
                except (PageFailed, ConfigError, json.JSONDecodeError) as exc:
                    raise PageFailed(f"{self._page.path}:{block.number}: {exc}") from exc
            if self._saved:
                raise PageFailed(f"{self._page.path}: no line runs {sorted(self._saved)}")
            self._leave()

    def _block(self, block: Block) -> None:
        match block.language:
            case "sh":
                for line in _lines(block.text):
                    self._type(block.note, line)
            case "console":
                for line, expected in _sessions(block.text):
                    self._type(block.note, line, expected)
            case "python" if block.note:
                (self._machine("").home / block.note).write_text(block.text, "utf-8")
                self._saved.add(block.note)
            case "python":
                (self._machine("").home / "snippet.py").write_text(block.text, "utf-8")
                tests = re.search(r"^(async )?def test_", block.text, re.M)
                self._type("", _PYTEST if tests else "python snippet.py")
            case "toml":
                file = self._root / "checked.toml"
                file.write_text(block.text, "utf-8")
                load_config(file, disk=real_environment().disk, environ={})
            case "json":
                json.loads(block.text)
            case language if language not in SHOWN:
                raise PageFailed(f"nobody knows what to do with a block of {language!r}")

    def _type(self, name: str, line: str, expected: str = "") -> None:
        """Type a line on a machine, and compare what it prints."""
        machine = self._machine(name)
        said = line.strip() if "\n" in line else re.sub(r"\s+#.*$", "", line).strip()
        self._saved = {file for file in self._saved if file not in line}
        if said in ELSEWHERE:
            ELSEWHERE[said].check(said, machine)
            return
        real = self._real(name, said)
        if said in UNTIL_INTERRUPTED:
            machine.start(real)
            machine.wait_for(real, _pattern(expected) if expected else UNTIL_INTERRUPTED[said])
            return
        code, printed = machine.run(real)
        self._transcript.append(printed)
        if code not in ENDS_WITH.get(said, {0}):
            raise PageFailed(f"{real}\nended with {code}:\n{printed}")
        if expected and not re.search(_pattern(expected), printed, re.S):
            raise PageFailed(f"{real}\nshould print:\n{expected}\nbut printed:\n{printed}")

    def _machine(self, name: str) -> Machine:
        if name not in self._machines:
            if name not in ("", "other"):
                raise PageFailed(f"there is no machine {name!r}")
            variables = {
                "FOGP2P_NETWORK__LISTEN": "/ip4/127.0.0.1/tcp/0",
                "FOGP2P_DISCOVERY__MDNS_INTERFACES": "lo",
                "FOGP2P_DISCOVERY__MDNS_PORT": str(self._ports["7460"]),
                "FOGP2P_DISCOVERY__MDNS_SERVICE": f"_fog{self._ports['7460']}._udp.local",
            }
            if not self._multicast:
                variables["FOGP2P_DISCOVERY__MDNS"] = "false"
                if "" in self._machines:
                    found = self._machines[""].run("fogp2p id")[1].split()
                    variables["FOGP2P_DISCOVERY__BOOTSTRAP"] = found[-1]
            self._machines[name] = Machine(self._root / (name or "here"), variables)
            # What belongs to the repository is found where the reader stands.
            (self._root / (name or "here") / "deploy").symlink_to(
                Path(__file__).resolve().parents[2] / "deploy"
            )
        return self._machines[name]

    def _real(self, name: str, line: str) -> str:
        """The line with the values of this run."""
        for sample, pattern in SAMPLES.items():
            if sample in line:
                found = re.findall(pattern, "\n".join(self._printed()))
                if not found:
                    raise PageFailed(f"{line}\nnothing before it printed {pattern!r}")
                line = line.replace(sample, found[-1])
        if PEER in line:
            other = self._machine("" if name else "other")
            line = line.replace(PEER, other.run("fogp2p id")[1].split()[0][-6:])
        for port, free in self._ports.items():
            line = re.sub(rf"\b{port}\b", str(free), line)
        return line

    def _printed(self) -> Iterator[str]:
        yield from self._transcript
        for machine in self._machines.values():
            for line in machine.running:
                yield machine.printed_by(line)

    def _leave(self) -> None:
        """Ctrl+C for what still runs, and `fogp2p down` for peers in the background."""
        for machine in self._machines.values():
            for line in list(machine.running):
                machine.interrupt(line)
        for machine in self._machines.values():
            code, printed = machine.run(
                "fogp2p status >/dev/null 2>&1 || exit_code=$?; fogp2p down"
            )
            if code not in (0, 3):
                raise PageFailed(f"the peer did not stop: {printed}")


def _lines(text: str) -> Iterator[str]:
    """Commands of a shell block: a backslash or a here-document makes several lines one."""
    lines = iter(text.split("\n"))
    for line in lines:
        command = line
        while command.endswith("\\"):
            command += "\n" + next(lines)
        heredoc = _HEREDOC.search(command)
        while heredoc is not None:
            inner = next(lines)
            command += "\n" + inner
            if inner.strip() == heredoc[2]:
                break
        if command.strip() and not command.strip().startswith("#"):
            yield command


def _sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each command after `$` with what is printed below it."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected.strip()


def _pattern(expected: str) -> str:
    """A pattern for expected output."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == "...":
            continue  # other lines may stand between any two
        for sample in (*SAMPLES, PEER):
            line = line.replace(sample, "...")
        parts = []
        for part in line.split("..."):
            words = [
                r"\d+(?:\.\d+)?".join(map(re.escape, _NUMBER.split(word))) for word in part.split()
            ]
            parts.append(r"\s+".join(words))
        lines.append(r".*?".join(parts))
    return r".*?\n\s*".join(lines)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, for TCP and UDP."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(probe.getsockname()[1])
        return found


def _multicast_works() -> bool:
    """Whether this machine's loopback carries multicast; some containers' does not."""
    loopback = socket.inet_aton("127.0.0.1")
    group = socket.inet_aton("224.0.0.251") + loopback
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hears,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as says,
    ):
        try:
            hears.bind(("", 0))
            hears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            hears.settimeout(1)
            says.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            says.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("b", 0))
            says.sendto(b"?", ("224.0.0.251", hears.getsockname()[1]))
            return hears.recv(1) == b"?"
        except OSError:
            return False
