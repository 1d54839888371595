"""Does a peer do what the specifications say? Checks on the wire, against any live peer.

`run_checks` is what `fogp2p conformance TARGET` calls. Each check cites the sentence it is about,
keeps a transcript, and can be repeated alone.
"""

from .context import Target
from .errors import CheckFailed, NotApplicable
from .model import Check, Outcome, all_checks, select
from .runner import Result, run_checks

__all__ = [
    "Check",
    "CheckFailed",
    "NotApplicable",
    "Outcome",
    "Result",
    "Target",
    "all_checks",
    "run_checks",
    "select",
]
