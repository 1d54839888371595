"""Find the packages, so that nobody keeps a list by hand.

`transports/`, `protocols/`, `specs/` and `docs/` stand at the root of the repository and are
installed inside `fogp2p` (docs/decisions/0001-layout.md).
"""

from setuptools import find_packages, setup

MAPPED = {
    "fogp2p.transports": "transports",
    "fogp2p.protocols": "protocols",
    "fogp2p.specs": "specs",
    "fogp2p.manual": "docs",
}
inner = [
    name
    for name in find_packages(".", include=["fogp2p", "fogp2p.*"])
    if not name.startswith(tuple(MAPPED))
]
mapped = [
    name
    for root, folder in MAPPED.items()
    for name in (root, *(f"{root}.{sub}" for sub in find_packages(folder)))
]
setup(packages=inner + mapped, package_dir={"fogp2p": "fogp2p", **MAPPED})
