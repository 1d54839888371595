"""Naming a peer on the command line without typing 52 characters."""

from __future__ import annotations

from fogp2p.client import Client, PeerSaid
from fogp2p.errors import FogError, LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId

__all__ = ["PeerNotFound", "find_peer"]


class PeerNotFound(FogError):
    """No connected peer fits what was typed, or more than one does."""

    number = "FOG-CLI-001"


def find_peer(client: Client, text: str) -> str:
    """The full id for a whole id, a contact's name, or either end of a connected peer's id.

    Raises PeerNotFound.
    """
    try:
        return str(PeerId.parse(text))
    except RemoteProtocolError:
        pass
    if not text:
        raise LocalProtocolError("name a peer", code="peer-id")
    known = [peer["peer_id"] for peer in client.get("peers")["peers"]]
    found = {each for each in known if each.startswith(text) or each.endswith(text)}
    found |= {each for each, name in _contacts(client) if name.casefold() == text.casefold()}
    if len(found) == 1:
        return str(found.pop())
    what = "no connected peer" if not found else f"{len(found)} peers"
    raise PeerNotFound(
        f"{what} has an id that begins or ends with {text!r}, or is a contact of that name",
        hint="fogp2p peers, fogp2p contacts",
    )


def _contacts(client: Client) -> list[tuple[str, str]]:
    """(id, name) of the peers that an invite has verified."""
    try:
        return [
            (each["peer_id"], each["name"]) for each in client.get("contacts").get("contacts", ())
        ]
    except PeerSaid:  # a peer without this part still has connections to name
        return []
