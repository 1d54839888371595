"""`/fog/invite/1.0.0`: two people make their peers known to each other by a code.

Words to say (`7-copper-lake`) or a link to paste and scan; used once, expiring, guarded by SPAKE2.
Spec: specs/invite/invite-v1.md.
"""

from typing import Final

from fogp2p.ids import Version

from .book import Known, Stage
from .codes import Code, Kind, Link, Words, parse_code, word_list
from .errors import CodeError, InviteGone, InviterNotFound, NoSuchInvite, WrongWords
from .handler import Progress
from .invites import Invite, Invites, Pending, open_invites
from .machine import PROTOCOL_ID
from .search import Candidate

NAME: Final = "fog/invite"
VERSIONS: Final = (Version(1, 0),)

__all__ = [
    "NAME",
    "PROTOCOL_ID",
    "VERSIONS",
    "Candidate",
    "Code",
    "CodeError",
    "Invite",
    "InviteGone",
    "InviterNotFound",
    "Invites",
    "Kind",
    "Known",
    "Link",
    "NoSuchInvite",
    "Pending",
    "Progress",
    "Stage",
    "Words",
    "WrongWords",
    "open_invites",
    "parse_code",
    "word_list",
]
