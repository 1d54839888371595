"""Z1-Z4: packets, every message inside, the fragment assembler, and sync filters.

Invariants: only RemoteProtocolError with a code `bitchat-...` or `noise-...` comes out; an accepted
packet encodes and decodes to itself; the assembler stays within its limits.
Run by hand: `make fuzz TARGET=bitchat`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.protocols.bitchat import (
        Packet,
        PacketType,
        Reassembler,
        announce,
        community,
        courier,
        decode_packet,
        media,
        private,
        sync,
    )

DECODERS = [
    announce.decode_announce,
    private.decode_noise_payload,
    private.decode_private_message,
    private.decode_receipt,
    private.decode_peer_state,
    private.decode_verify_challenge,
    private.decode_verify_response,
    private.decode_vouches,
    media.decode_file,
    media.decode_voice,
    courier.decode_envelope,
    courier.decode_prekey_bundle,
    community.decode_board,
    community.decode_group_state,
    community.decode_group_message,
    community.decode_group_content,
    community.decode_ping,
    community.decode_carrier,
    sync.decode_sync_request,
]


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, body = data[0], data[1:]
    try:
        if kind < 100:
            found = decode_packet(body)
            assert decode_packet(found.encode(padded=False)) == found
        elif kind < 200:
            DECODERS[kind % len(DECODERS)](body)
        else:
            assemble(body)
    except RemoteProtocolError as error:
        assert error.code.startswith("bitchat-"), error.code


def assemble(body: bytes) -> None:
    box = Reassembler()
    now = 0.0
    while body:
        size, sender, body = body[0], body[1:2].ljust(8, b"\0"), body[2:]
        piece, body = body[:size], body[size:]
        now += size / 16
        try:
            box.add(Packet(PacketType.FRAGMENT, 7, 1, sender, piece), now)
        except RemoteProtocolError as error:
            assert error.code.startswith("bitchat-"), error.code
        assert len(box) <= 128 and 0 <= box.size <= 4 * 1_048_576


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
