"""Two peers as two people meet them: three commands, and both know each other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fogp2p.client import Client
from fogp2p.doctor import Diagnosis
from fogp2p.paths import home_paths
from fogp2p.protocols.invite.answers import ContactsAnswer, InvitesAnswer, PendingAnswer
from fogp2p.protocols.registry.answers import RegistryAnswer
from fogp2p.schema import json_schema

pytestmark = pytest.mark.process


class Person:
    """Somebody at a keyboard, on a machine of their own."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
        self._environ |= settings

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "fogp2p", "--home", str(self.home), *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, env=self._environ)

    def json(self, *words: str) -> dict[str, Any]:
        done = self.types("--json", *words)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def people(tmp_path: Path) -> Iterator[tuple[Person, Person]]:
    """Two, on one LAN that nobody else is on: loopback, and a multicast port of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "FOGP2P_NETWORK__LISTEN": "/ip4/127.0.0.1/tcp/0",
        "FOGP2P_NETWORK__TARGET_PEERS": "0",  # nobody connects by chance: the invite does it
        "FOGP2P_DISCOVERY__MDNS_INTERFACES": "lo",
        "FOGP2P_DISCOVERY__MDNS_PORT": str(port),
        "FOGP2P_DISCOVERY__MDNS_SERVICE": f"_fog{port}._udp.local",
    }
    both = (Person(tmp_path / "ada", settings), Person(tmp_path / "bob", settings))
    yield both
    for person in both:
        person.types("down")


def _ask(person: Person, route: str, kind: type[Any]) -> dict[str, Any]:
    found = Client(home_paths(person.home).socket).get(route)
    jsonschema.validate(found, json_schema(kind, closed=True))
    return found


def test_two_people_need_three_commands(people: tuple[Person, Person]) -> None:
    ada, bob = people
    started = ada.json("up", "-d", "--invite")
    me, code = started["peer_id"], started["invite"]
    friend = bob.json("up", "-d")["peer_id"]

    wrong = bob.types("join", code.rpartition("-")[0] + "-zoo")
    assert wrong.returncode == 7 and "FOG-INV-003" in wrong.stderr
    (tried,) = _ask(ada, "invites", InvitesAnswer)["invites"]
    assert tried["wrong_guesses"] == 1 and tried["guesses_left"] == 2

    joined = bob.json("join", code)
    assert joined["contact"]["peer_id"] == me
    (contact,) = _ask(ada, "contacts", ContactsAnswer)["contacts"]
    assert contact["peer_id"] == friend and contact["name"].count("-") == 1  # its nickname
    assert _ask(ada, "pending", PendingAnswer) == {
        "schema": "pending/1",
        "invites": [],
        "joins": [],
    }
    assert bob.types("ping", me[-6:]).returncode == 0
    used = bob.types("join", code)
    assert used.returncode == 7 and "FOG-INV-004" in used.stderr

    events = ada.types("--json", "events", "--since", "0", "--types", "invite.")
    stages = [json.loads(line)["type"] for line in events.stdout.splitlines()]
    assert stages[0] == "invite.invited" and stages[-1] == "invite.verified"

    known = _ask(bob, "registry", RegistryAnswer)
    assert [each["peer"] for each in known["descriptors"]] == [me]
    assert _ask(ada, "doctor", Diagnosis)["peer"] == "running"
    status = ada.json("status")
    assert status["health"] == "ok" and status["reasons"] == []
