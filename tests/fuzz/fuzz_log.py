"""Group logs: entries, messages, and a replica that is fed with them.

Invariants: only RemoteProtocolError comes out; what is accepted is what its bytes say (the id names
the content, a message is encoded again to the same bytes); a session that is answered with anything
ends within its bounds. Run by hand: `make fuzz TARGET=log`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import LimitExceeded, RemoteProtocolError
    from fogp2p.protocols.log.config import MAX_FOUND, MAX_PENDING, MAX_QUERIES
    from fogp2p.protocols.log.entries import Kind, body_of, decode_entry, encode_body
    from fogp2p.protocols.log.machine import Replica
    from fogp2p.protocols.log.messages import Query, Reply, decode_message, encode_message
    from fogp2p.protocols.log.reconcile import Asker, RangeIndex, answer

INDEX = RangeIndex()
for _n in range(500):
    INDEX.add(_n.to_bytes(4) + bytes([_n % 251]) * 32)
REPLICA = Replica(bytes(32))


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, body = data[0] % 3, data[1:]
    try:
        if kind == 0:
            read_entry(body)
        elif kind == 1:
            read_message(body)
        else:
            read_session(body)
    except RemoteProtocolError:
        return


def read_entry(data: bytes) -> None:
    entry = decode_entry(data)
    assert entry.data == data
    found = body_of(entry)
    if found is not None and entry.kind <= Kind.EPOCH:
        assert encode_body(found) == entry.body
    try:
        REPLICA.ingest(entry)
    except LimitExceeded:
        return
    assert len(REPLICA.pending) <= MAX_PENDING


def read_message(data: bytes) -> None:
    message = decode_message(data)
    assert encode_message(message) == data
    if isinstance(message, Query):
        assert len(encode_message(answer(INDEX, message))) < 65_536


def read_session(data: bytes) -> None:
    asker = Asker(INDEX, bytes(32), bytes(8))
    for _ in range(MAX_QUERIES + 1):
        query = asker.next_query()
        if query is None:
            assert len(asker.need) + len(asker.have) <= 8 * MAX_FOUND
            return
        message = decode_message(data)
        if not isinstance(message, Reply):
            return
        asker.receive(Reply(bytes(32), bytes(8), query.number, message.answers))
    raise AssertionError("a session without end")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
