"""specs/log section 6: what stands of a set of entries."""

import cbor2


class Log:
    """Section 6, by its sentences and without haste."""

    def __init__(self, entries: list) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.before: dict = {}
        for entry in sorted(entries, key=lambda e: e.height):
            above = [self.entries[name] for name in entry.past]
            assert entry.height == 1 + max((e.height for e in above), default=-1)
            self.before[entry.id] = {e.id for e in above}.union(*(self.before[e.id] for e in above))
        places: dict = {}
        for entry in entries:
            places.setdefault((entry.author, entry.position), []).append(entry)
        self.forks: dict = {}
        for (author, position), found in places.items():
            if len(found) > 1:
                self.forks[author] = min(position, self.forks.get(author, position))
        bodies = {e.id: cbor2.loads(e.body) for e in entries if e.kind in (1, 2)}
        self.admissions = [(e, e.author, 2, 0) for e in entries if e.kind == 0]
        self.admissions += [
            (e, *(bodies[e.id][n] for n in (1, 2, 3))) for e in entries if e.kind == 1
        ]
        self.removals = [(e, *(bodies[e.id][n] for n in (1, 2))) for e in entries if e.kind == 2]
        self.removals += [(e, e.author, e.id) for e in entries if e.kind == 3]

    def muted(self, entry) -> bool:
        return entry.author in self.forks and entry.position >= self.forks[entry.author]

    def chain(self, name: bytes) -> set:
        found = set()
        while name:
            found.add(name)
            name = self.entries[name].previous
        return found

    def acts(self, entry, role: int, below: int = 99) -> bool:
        return any(
            self.holds(a, entry)
            for a in self.admissions
            if a[1] == entry.author
            and a[0].id in self.before[entry.id]
            and a[2] >= role
            and a[3] < below
        )

    def stands(self, a: tuple) -> bool:
        return a[0].kind == 0 or (not self.muted(a[0]) and self.acts(a[0], 2, a[3]))

    def holds(self, a: tuple, entry) -> bool:
        ended = any(
            self.ends(r, entry) and self.has_effect(r, a)
            for r in self.removals
            if r[1] == entry.author
        )
        return self.stands(a) and not ended

    def ends(self, r: tuple, entry) -> bool:
        if r[0].id in self.before[entry.id]:
            return True
        if r[0].kind == 3 and entry.kind == 2:
            return False
        return entry.id not in self.chain(r[2])

    def has_effect(self, r: tuple, a: tuple) -> bool:
        if r[0].id in self.before[a[0].id]:
            return False
        return r[0].kind == 3 or self.acts(r[0], 2, a[3])

    def verdict(self, entry) -> str:
        if self.muted(entry) and entry.kind != 2:
            return "muted"
        if entry.kind == 0:
            return "stands"
        below = next((a[3] for a in self.admissions if a[0] is entry), 99)
        return "stands" if self.acts(entry, 2 if entry.kind in (1, 2) else 1, below) else "removed"

    def members(self) -> list:
        found: dict = {}
        for a in self.admissions:
            if self.stands(a) and not any(
                self.has_effect(r, a) for r in self.removals if r[1] == a[1]
            ):
                best = found.setdefault(a[1], [a[1].hex(), 0, 99])
                if (a[2], -a[3]) > (best[1], -best[2]):
                    best[1:] = [a[2], a[3]]
        return [found[key] for key in sorted(found)]
