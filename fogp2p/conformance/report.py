"""Results for people, for programs, and for continuous integration."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fogp2p.schema import about, named

from .context import Target
from .coverage import NOT_ON_THE_WIRE
from .model import Outcome, all_checks
from .runner import Result

__all__ = [
    "HEAD",
    "ConformanceAnswer",
    "ConformanceList",
    "ConformanceRow",
    "answer_of",
    "details",
    "junit",
    "listing_answer",
    "rows",
    "totals",
]

HEAD = ("SPEC", "CHECK", "RESULT", "MS", "WHAT THE PEER DOES")


@dataclass(frozen=True, slots=True)
class ConformanceRow:
    """One check."""

    spec: str = field(metadata=about("short name of the specification"))
    check: str = field(metadata=about("anchor of the sentence, and a letter"))
    title: str
    result: Outcome
    said: str = field(metadata=about("evidence, fault, or why it does not apply"))
    milliseconds: float = field(metadata=about("how long it took", minimum=0))
    transcript: tuple[str, ...] = field(metadata=about("what was said; of failed checks only"))
    repeat: str = field(metadata=about("the command that runs this check again"))


@named("conformance/1")
@dataclass(frozen=True, slots=True)
class ConformanceAnswer:
    """A run of `fogp2p conformance`."""

    target: str
    seed: int
    passed: int = field(metadata=about("checks", minimum=0))
    failed: int = field(metadata=about("checks", minimum=0))
    not_applicable: int = field(metadata=about("checks", minimum=0))
    results: tuple[ConformanceRow, ...]


@dataclass(frozen=True, slots=True)
class ConformanceEntry:
    """A check that there is."""

    spec: str
    check: str
    title: str


@dataclass(frozen=True, slots=True)
class ConformanceGap:
    """Sentences that no check reaches: an anchor, or the three letters of a specification."""

    anchor: str
    reason: str


@named("conformance-list/1")
@dataclass(frozen=True, slots=True)
class ConformanceList:
    """What `fogp2p conformance --list` shows."""

    checks: tuple[ConformanceEntry, ...]
    not_checkable: tuple[ConformanceGap, ...]


def listing_answer() -> ConformanceList:
    """All checks, and what none of them reaches."""
    return ConformanceList(
        tuple(ConformanceEntry(each.spec, each.identifier, each.title) for each in all_checks()),
        tuple(ConformanceGap(*each) for each in sorted(NOT_ON_THE_WIRE.items())),
    )


def answer_of(target: Target, seed: int, results: Sequence[Result]) -> ConformanceAnswer:
    """The whole run."""
    count = Counter(each.outcome for each in results)
    return ConformanceAnswer(
        str(target.address),
        seed,
        count[Outcome.PASSED],
        count[Outcome.FAILED],
        count[Outcome.NOT_APPLICABLE],
        tuple(
            ConformanceRow(
                each.check.spec,
                each.check.identifier,
                each.check.title,
                each.outcome,
                each.said,
                each.milliseconds,
                each.transcript,
                each.repeat,
            )
            for each in results
        ),
    )


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The matrix, to go under HEAD."""
    return [
        (
            each.check.spec,
            each.check.identifier,
            each.outcome.value,
            f"{each.milliseconds:.0f}",
            f"{each.check.title}: {each.said}",
        )
        for each in results
    ]


def totals(answer: ConformanceAnswer) -> str:
    """One line."""
    return (
        f"{answer.passed} passed, {answer.failed} failed, {answer.not_applicable} not applicable; "
        f"seed {answer.seed}"
    )


def details(results: Sequence[Result]) -> list[str]:
    """What failed: the fault, what was said, and the line that repeats it."""
    lines: list[str] = []
    for each in results:
        if each.outcome is Outcome.FAILED:
            lines += ["", f"{each.check.identifier} {each.check.title}", f"  {each.said}"]
            lines += [f"    {line}" for line in each.transcript]
            lines.append(f"  repeat: {each.repeat}")
    return lines


def junit(answer: ConformanceAnswer) -> str:
    """The run as JUnit XML. A check that does not apply is skipped, with its reason."""
    suite = ElementTree.Element(
        "testsuite",
        name="fogp2p conformance",
        tests=str(len(answer.results)),
        failures=str(answer.failed),
        skipped=str(answer.not_applicable),
        errors="0",
    )
    for each in answer.results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=each.spec,
            name=f"{each.check} {each.title}",
            time=f"{each.milliseconds / 1000:.3f}",
        )
        if each.result is Outcome.FAILED:
            fault = ElementTree.SubElement(case, "failure", message=each.said)
            fault.text = "\n".join([*each.transcript, f"repeat: {each.repeat}"])
        elif each.result is Outcome.NOT_APPLICABLE:
            ElementTree.SubElement(case, "skipped", message=each.said)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
