"""Invites: codes, messages, contacts, the file, and both machines.

Invariants: a peer's bytes raise only RemoteProtocolError, a person's text only CodeError, and
no contact is shown without the code. Run by hand: `make fuzz TARGET=invite`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.ids import PeerId
    from fogp2p.protocols.invite.book import decode_book
    from fogp2p.protocols.invite.codes import Words, parse_code, password
    from fogp2p.protocols.invite.errors import CodeError
    from fogp2p.protocols.invite.machine import (
        NEED_DATA,
        Asked,
        Inviter,
        Joiner,
        Offered,
        Proved,
        Shown,
        WrongGuess,
    )
    from fogp2p.protocols.invite.messages import decode_contact, decode_message

BOB, ADA = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))
CODE = password(Words(7, ("copper", "lake")))


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, body = data[0] % 6, data[1:]
    try:
        if kind == 0:
            assert parse_code(str(parse_code(body.decode("utf-8", "replace")))).nameplate
        elif kind == 1:
            decode_message(body)
        elif kind == 2:
            assert decode_contact(body).name.isprintable()
        elif kind == 3:
            decode_book(body)
        elif kind == 4:
            _drive(Inviter(local=ADA, remote=BOB, entropy=bytes(64)), body)
        else:
            machine = Joiner(local=BOB, remote=ADA, entropy=bytes(64), nameplate=7, password=CODE)
            _drive(machine, body)
    except (RemoteProtocolError, CodeError):
        return


def _drive(machine: Inviter | Joiner, data: bytes) -> None:
    machine.receive_data(data)
    while not machine.is_over:
        event = machine.next_event()
        assert not isinstance(event, (Proved, Shown)), "proven without the code"
        if isinstance(event, Asked) and isinstance(machine, Inviter):
            machine.pair(7, 60, CODE)
        elif isinstance(event, Offered) and isinstance(machine, Joiner):
            machine.begin()
        elif isinstance(event, WrongGuess) or event == NEED_DATA:
            return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
