"""`/fog/blob/1.0.0`: files by the hash of their content, from several peers at once."""

from .config import CHUNK_BYTES, MAX_BLOB_BYTES, BlobConfig
from .download import PROTOCOL_ID, Download
from .errors import UnknownBlob
from .handler import Blobs, open_blobs
from .messages import Cid, Manifest, decode_manifest, file_name, make_manifest
from .seal import KEY_BYTES, PIECE_BYTES, open_pieces, seal_pieces
from .store import BlobStore, Kept
from .swarm import Swarm
from .transfers import Measured, State, Transfer, Transfers

__all__ = [
    "CHUNK_BYTES",
    "KEY_BYTES",
    "MAX_BLOB_BYTES",
    "PIECE_BYTES",
    "PROTOCOL_ID",
    "BlobConfig",
    "BlobStore",
    "Blobs",
    "Cid",
    "Download",
    "Kept",
    "Manifest",
    "Measured",
    "State",
    "Swarm",
    "Transfer",
    "Transfers",
    "UnknownBlob",
    "decode_manifest",
    "file_name",
    "make_manifest",
    "open_blobs",
    "open_pieces",
    "seal_pieces",
]
