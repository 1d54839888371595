"""Runs that are replayed for ever: `tests/regress/seeds.txt`.

A seed that broke an invariant is added there, by hand or with `fogp2p simulate --remember FILE`.
A line holds what follows `fogp2p simulate`; empty lines and what follows `#` are skipped.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from fogp2p.errors import ConfigError

from .scenario import MAX_PEERS, Options, replay
from .scenarios import SCENARIOS

__all__ = ["append_seed", "parse_seeds"]

_OPTIONS: Final = ("--peers", "--seed", "--minutes")
_PREFIX: Final = "fogp2p simulate "


def parse_seeds(text: str) -> list[tuple[str, Options]]:
    """The runs that are written there. Raises ConfigError with the line that is wrong."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = shlex.split(line, comments=True)
        if words:
            try:
                found.append(_parse(words))
            except (ValueError, KeyError, StopIteration) as exc:
                raise ConfigError(
                    f"line {number} is no run: {line.strip()}",
                    hint="such as: partition --peers 12 --seed 3 --minutes 1",
                ) from exc
    return found


def _parse(words: list[str]) -> tuple[str, Options]:
    name, *rest = words
    if name not in SCENARIOS:
        raise ValueError(name)
    values: dict[str, str] = {}
    faults = True
    each = iter(rest)
    for word in each:
        if word == "--no-faults":
            faults = False
        elif word in _OPTIONS:
            values[word] = next(each)
        else:
            raise ValueError(word)
    minutes = float(values["--minutes"]) if "--minutes" in values else None
    options = Options(int(values["--peers"]), int(values["--seed"]), minutes, faults)
    if not 2 <= options.peers <= MAX_PEERS or options.seed < 0:
        raise ValueError(name)
    return name, options


def append_seed(path: Path, name: str, options: Options) -> None:
    """Add a run, unless it is there. Raises ConfigError when the file cannot be written."""
    line = replay(name, options).removeprefix(_PREFIX)
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        if (name, options) in parse_seeds(text):
            return
        gap = "" if not text or text.endswith("\n") else "\n"
        path.write_text(f"{text}{gap}{line}\n", "utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror}") from exc
