"""Errors of blobs that a person may meet."""

from __future__ import annotations

from fogp2p.errors import FogError

__all__ = ["UnknownBlob"]


class UnknownBlob(FogError):
    """There is no such blob here, or not all of it; or a file that was to become one is not."""

    number = "FOG-BLOB-001"
