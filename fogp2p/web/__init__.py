"""The status page: static files that ask the local API, served by it to a logged-in browser.

No framework, no build step, nothing from elsewhere: it works offline and under a content security
policy that allows neither inline code nor foreign sources. Text from peers only ever becomes text
nodes. It only reads: whoever could take it over would have nothing to press.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["page_folder"]


def page_folder() -> Traversable:
    """The folder with `index.html` and what it asks for; about 30 kB altogether."""
    return files("fogp2p.web").joinpath("static")
