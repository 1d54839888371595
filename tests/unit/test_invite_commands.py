"""The commands, against what the API answers; and the answers themselves."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from fogp2p.cli.commands import contacts, invite, join
from fogp2p.cli.output import Output
from fogp2p.client import PeerSaid
from fogp2p.identity import ephemeral
from fogp2p.protocols.invite import Candidate, Invite, Kind, Known, Link, Pending, Stage, Words
from fogp2p.protocols.invite.answers import (
    InviteRequest,
    JoinRequest,
    contacts_of,
    invite_of,
    invites_of,
    join_of,
    offers_of,
    pending_of,
)
from fogp2p.protocols.invite.book import InviteRecord, JoinRecord
from fogp2p.schema import answer, json_schema

ADA, BOB = (ephemeral(random.Random(n)).peer_id for n in (1, 2))
RECORD = InviteRecord("i-3fa2c1", 7, Kind.WORDS, ("copper", "lake"), "Bob", 0, 600_000)
OPEN = Invite(RECORD, Words(7, ("copper", "lake")), Stage.INVITED, None, 600.0)
LINK = Invite(
    replace(RECORD, kind=Kind.LINK, secret=bytes(16)),
    Link(7, ADA, bytes(16)),
    Stage.INVITED,
    None,
    600.0,
)
SEEN = replace(OPEN, stage=Stage.SEEN, peer=BOB)
DONE = Invite(
    replace(RECORD, stage=Stage.VERIFIED, secret=None, peer=BOB), None, Stage.VERIFIED, BOB, 590.0
)
GUESSED = replace(OPEN, record=replace(RECORD, wrong=1))
BURNT = Invite(
    replace(RECORD, stage=Stage.BURNT, secret=None, wrong=3), None, Stage.BURNT, None, 0.0
)
CONTACT = Known(ADA, "ada\x1b[2J", Kind.WORDS, 1_767_225_600_000)
JOIN = JoinRecord("j-00ff00", 7, Kind.WORDS, ("copper", "lake"), "", 0, 86_400_000)
WAITING = Pending(JOIN, Stage.SEARCHING, None, 86_000.0)


class Peer:
    """Answers like the API, each route from a list; the last answer stays."""

    def __init__(self, answers: Mapping[str, list[Any]]) -> None:
        self._answers = {route: list(each) for route, each in answers.items()}
        self.asked: list[tuple[str, Any]] = []

    def _ask(self, route: str, fields: Any = None) -> dict[str, Any]:
        self.asked.append((route, fields))
        waiting = self._answers[route]
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(found, Exception):
            raise found
        return answer(found)

    def get(self, route: str) -> dict[str, Any]:
        return self._ask(f"GET {route}")

    def post(self, route: str, fields: Any = None) -> dict[str, Any]:
        return self._ask(f"POST {route}", fields)

    def delete(self, route: str) -> dict[str, Any]:
        return self._ask(f"DELETE {route}")


def _run(
    monkeypatch: pytest.MonkeyPatch, peer: Peer, command: Any, *words: str, as_json: bool = False
) -> Result:
    monkeypatch.setattr(Output, "client", lambda self: peer)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    output = Output(as_json=as_json, quiet=False, home=None, timeout_s=10.0)
    return CliRunner().invoke(command, list(words), obj=output, catch_exceptions=False)


@pytest.mark.parametrize(
    "value",
    [
        invite_of(OPEN),
        invite_of(DONE),
        invites_of([OPEN, LINK, SEEN, DONE, BURNT]),
        contacts_of([CONTACT]),
        join_of(CONTACT),
        offers_of([Candidate(ADA, (), 7, 599)]),
        pending_of([OPEN, DONE], [WAITING]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answers_keep_to_their_schemas(value: Any) -> None:
    said = json.loads(json.dumps(answer(value)))
    jsonschema.validate(said, json_schema(type(value), closed=True))
    assert "'copper'" not in repr(value) and "copper-lake" not in repr(value)


def test_what_the_commands_send_keeps_to_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(
        {
            "POST invites": [invite_of(LINK)],
            "POST joins": [join_of(CONTACT)],
            "GET pending": [pending_of([], [])],
        }
    )
    _run(monkeypatch, peer, invite.command, "--link", "--no-qr")
    _run(monkeypatch, peer, join.command, str(LINK.code))
    sent = dict(peer.asked)
    for route, kind in (("POST invites", InviteRequest), ("POST joins", JoinRequest)):
        schema = json_schema(kind, closed=True)
        jsonschema.validate(sent[route], schema)
        assert set(sent[route]) == set(schema["properties"])
    assert "copper" not in repr(JoinRequest("7-copper-lake"))


def test_what_is_over_is_not_pending() -> None:
    assert [each.stage for each in pending_of([OPEN, DONE, BURNT], []).invites] == ["invited"]
    assert invite_of(DONE).code is None and invite_of(DONE).expires_in_s == 0.0


def test_an_invite_in_words_tells_the_other_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer({"POST invites": [invite_of(OPEN)]})
    done = _run(monkeypatch, peer, invite.command, "--ttl", "2h", "--name", "Bob")
    assert done.exit_code == 0 and done.stdout == "7-copper-lake\n"
    assert "fogp2p join 7-copper-lake" in done.stderr and "10 m" in done.stderr
    assert peer.asked == [("POST invites", {"kind": "words", "ttl_s": 7200.0, "name": "Bob"})]


@pytest.mark.spec("INV-003")
def test_a_link_is_drawn_and_fits_a_small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer({"POST invites": [invite_of(LINK)]})
    done = _run(monkeypatch, peer, invite.command, "--link")
    *drawn, link = done.stdout.splitlines()
    assert link.startswith("FOGP2P:") and len(link) <= 120
    assert len(drawn) <= 23 and {len(row) for row in drawn} <= set(range(20, 46))
    plain = _run(monkeypatch, peer, invite.command, "--link", "--no-qr")
    assert plain.stdout.splitlines() == [link]
    asked = _run(monkeypatch, peer, invite.command, "--qr")
    assert asked.stdout == done.stdout and peer.asked[-1][1]["kind"] == "link"


def test_the_longest_link_fits_as_well() -> None:
    drawn = invite.qr_lines("FOGP2P:" + "Z" * 112)
    assert len(drawn) <= 23 and max(map(len, drawn)) <= 45


def test_watching_says_each_step_until_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [OPEN, SEEN, GUESSED, SEEN, DONE]
    peer = Peer(
        {"POST invites": [invite_of(OPEN)], "GET invites": [invites_of([each]) for each in steps]}
    )
    done = _run(monkeypatch, peer, invite.command, "--watch")
    assert done.exit_code == 0
    said = done.stderr.splitlines()[2:]
    assert [line.split(":")[0] for line in said] == [
        "seen",
        "wrong guess",
        "open again",
        "seen",
        "verified",
    ]
    assert str(BOB) in said[-1]


def test_watching_ends_with_7_when_it_came_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(
        {"POST invites": [invite_of(OPEN)], "GET invites": [invites_of([BURNT]), invites_of([])]}
    )
    done = _run(monkeypatch, peer, invite.command, "--watch", as_json=True)
    assert done.exit_code == 7 and json.loads(done.stdout)["stage"] == "burnt"
    assert "7-copper-lake" in done.stderr
    peer = Peer({"POST invites": [invite_of(OPEN)], "GET invites": [invites_of([])]})
    assert _run(monkeypatch, peer, invite.command, "--watch").exit_code == 7


@pytest.mark.parametrize("ttl", ["", "x", "10y", "-5", "1.5h", "99999999s"])
def test_other_durations_are_refused(monkeypatch: pytest.MonkeyPatch, ttl: str) -> None:
    done = _run(monkeypatch, Peer({}), invite.command, "--ttl", ttl)
    assert done.exit_code == 2 and "10m" in done.stderr


def test_lists_and_cancelling(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(
        {
            "GET invites": [invites_of([OPEN, DONE])],
            "GET pending": [pending_of([], [WAITING])],
            "GET contacts": [contacts_of([CONTACT])],
            "DELETE invites/i-3fa2c1": [invites_of([])],
            "DELETE invites/j-00ff00": [invites_of([])],
            f"DELETE contacts/{ADA}": [contacts_of([])],
        }
    )
    shown = _run(monkeypatch, peer, invite.command, "--list").stdout
    assert "7-copper-lake" in shown and "verified" in shown
    assert "j-00ff00" in _run(monkeypatch, peer, join.command, "--list").stdout
    shown = _run(monkeypatch, peer, contacts.command).stdout
    assert str(ADA) in shown and "\x1b" not in shown
    for command, words in (
        (invite.command, ("--cancel", "i-3fa2c1")),
        (join.command, ("--cancel", "j-00ff00")),
        (contacts.command, ("--forget", str(ADA))),
    ):
        assert _run(monkeypatch, peer, command, *words).exit_code == 0


def test_joining_takes_the_code_in_any_form_and_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer({"POST joins": [join_of(CONTACT)], "GET pending": [pending_of([], [])]})
    done = _run(monkeypatch, peer, join.command, "7", "Copper", "lake")
    assert done.exit_code == 0 and str(ADA) in done.stdout and "\x1b" not in done.stdout
    fields = next(fields for route, fields in peer.asked if route == "POST joins")
    assert fields == {"code": "7 Copper lake", "name": "", "timeout_s": 10.0}


def test_a_join_that_fails_says_what_the_peer_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = PeerSaid("other words", code="FOG-INV-003", status=409, hint="read it again")
    peer = Peer({"POST joins": [said], "GET pending": [pending_of([], [])]})
    with pytest.raises(PeerSaid):
        _run(monkeypatch, peer, join.command, "7-copper-lake")


def test_joining_without_a_code_lists_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer({"GET joins": [offers_of([Candidate(ADA, (), 7, 599)]), offers_of([])]})
    shown = _run(monkeypatch, peer, join.command).stdout
    assert str(ADA) in shown and "fogp2p join 7-WORD-WORD" in shown
    assert "no open invites" in _run(monkeypatch, peer, join.command).stdout
