"""What the doctor says: one finding for each thing looked at."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from fogp2p.schema import about, named

__all__ = ["FAULTS", "Diagnosis", "Finding", "Repaired", "Severity", "codes", "fault", "fine"]


class Severity(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


# Every fault the doctor knows: its number, and the severity it has. A number never changes its
# meaning; docs/errors has a page for each.
FAULTS: Final[Mapping[str, Severity]] = {
    "FOG-DOC-001": Severity.FAIL,  # Python is too old or too new
    "FOG-DOC-002": Severity.FAIL,  # a package has another version than is needed
    "FOG-DOC-003": Severity.FAIL,  # a package is missing
    "FOG-DOC-004": Severity.WARN,  # the sandbox has another version than was measured
    "FOG-DOC-005": Severity.WARN,  # a wall of the sandbox does not stand
    "FOG-DOC-010": Severity.FAIL,  # others can use the keys
    "FOG-DOC-011": Severity.FAIL,  # the keys belong to somebody else
    "FOG-DOC-012": Severity.FAIL,  # the keys cannot be read
    "FOG-DOC-020": Severity.FAIL,  # the configuration is wrong
    "FOG-DOC-021": Severity.WARN,  # others can change the configuration
    "FOG-DOC-030": Severity.FAIL,  # a port is taken
    "FOG-DOC-031": Severity.FAIL,  # an address cannot be listened on
    "FOG-DOC-032": Severity.WARN,  # multicast does not work on an interface
    "FOG-DOC-033": Severity.WARN,  # no interface can do multicast
    "FOG-DOC-040": Severity.FAIL,  # the clock shows an impossible year
    "FOG-DOC-041": Severity.WARN,  # files are from the future
    "FOG-DOC-042": Severity.WARN,  # the clock was set while the peer ran
    "FOG-DOC-050": Severity.FAIL,  # the disk is full
    "FOG-DOC-051": Severity.WARN,  # the disk is nearly full
    "FOG-DOC-052": Severity.FAIL,  # a directory cannot be written
    "FOG-DOC-053": Severity.WARN,  # others can use a directory
    "FOG-DOC-054": Severity.WARN,  # the log is large
    "FOG-DOC-060": Severity.WARN,  # too few open files are allowed
    "FOG-DOC-070": Severity.WARN,  # a socket was left behind
    "FOG-DOC-071": Severity.FAIL,  # the peer's process does not answer
    "FOG-DOC-072": Severity.FAIL,  # an essential service is down
    "FOG-DOC-073": Severity.WARN,  # a service is down
    "FOG-DOC-074": Severity.WARN,  # the peer says why it does less than it could
    "FOG-DOC-075": Severity.WARN,  # the running peer has another version
    "FOG-DOC-080": Severity.WARN,  # a Bluetooth adapter is blocked
    "FOG-DOC-090": Severity.FAIL,  # the store is damaged
    "FOG-DOC-091": Severity.FAIL,  # the store takes nothing more until the next start
    "FOG-DOC-092": Severity.FAIL,  # the store was written by a newer version
    "FOG-DOC-093": Severity.WARN,  # pinned blobs use up their quota
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str = field(metadata=about("What was looked at: keys, ports, clock, ..."))
    severity: Severity = field(metadata=about("ok, warn or fail."))
    code: str = field(metadata=about("The number of the fault; empty when all is well."))
    what: str = field(metadata=about("What is so, in a sentence."))
    evidence: str = field(default="", metadata=about("What was seen that says so."))
    affects: str = field(default="", metadata=about("What does not work because of it."))
    hint: str = field(default="", metadata=about("What to type or do."))
    place: str = field(default="", metadata=about("The file, address or device, if there is one."))
    fixable: bool = field(default=False, metadata=about("Whether `fogp2p doctor --fix` mends it."))


@dataclass(frozen=True, slots=True)
class Repaired:
    """Something that `--fix` did, or could not do."""

    code: str = field(metadata=about("The number of the fault."))
    place: str = field(metadata=about("Where."))
    done: bool = field(metadata=about("Whether it is mended."))
    what: str = field(metadata=about("What was done, or why not."))


@named("doctor/1")
@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything the doctor found."""

    verdict: Severity = field(metadata=about("The worst severity of all findings."))
    peer: str = field(metadata=about("Whether the peer was asked.", enum=["running", "down"]))
    findings: tuple[Finding, ...] = field(metadata=about("In the order of the checks."))
    repaired: tuple[Repaired, ...] = field(default=(), metadata=about("What `--fix` did."))


def codes() -> Iterator[str]:
    """Every number the doctor can give."""
    yield from FAULTS


def fine(check: str, what: str, *, evidence: str = "", place: str = "") -> Finding:
    """All is well."""
    return Finding(check, Severity.OK, "", what, evidence=evidence, place=place)


def fault(
    check: str,
    code: str,
    what: str,
    *,
    affects: str,
    hint: str,
    evidence: str = "",
    place: str = "",
    fixable: bool = False,
) -> Finding:
    """Something is wrong: the code says how bad."""
    return Finding(check, FAULTS[code], code, what, evidence, affects, hint, place, fixable)
