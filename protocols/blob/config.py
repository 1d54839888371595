"""Limits of blobs, each with its reason."""

from dataclasses import dataclass
from typing import Final

from fogp2p.limits import KIB, MIB

# Large enough that asking costs little, small enough to be lost and asked again elsewhere.
CHUNK_BYTES: Final = 256 * KIB
# The hashes of so many chunks fill a manifest of 1 MiB: files of up to 8 GiB.
MAX_CHUNKS: Final = 32_768
MAX_BLOB_BYTES: Final = MAX_CHUNKS * CHUNK_BYTES
MAX_MANIFEST_BYTES: Final = MAX_CHUNKS * 32 + 64
# A request names a blob and a number; an offer a file name besides.
MAX_REQUEST_BYTES: Final = 1 * KIB
# A reply is a chunk, a part of a manifest or a bitmap, with a byte in front.
MAX_REPLY_BYTES: Final = CHUNK_BYTES + 64
# File names as most file systems have them.
MAX_NAME_BYTES: Final = 255
# Requests a stream may have waiting at the other end: 1 MiB of answers, for 10 ms at 100 MB/s.
PIPELINE: Final = 4
# Chunks that wait to be stored, for each download: reading the network need not wait for the disk.
WRITE_BEHIND: Final = 8
# Chunks stored in one go, and how long the first of them waits for the others.
PUT_AT_ONCE: Final = 8
STORE_DELAY_S: Final = 0.005
# Streams one peer may hold with us, and all together: each costs a chunk of memory.
STREAMS_PER_PEER: Final = 4
STREAMS: Final = 32
# A source that does not answer in this time is asked no more.
REPLY_TIMEOUT_S: Final = 20.0
# A stream on which nothing is asked for this long is closed.
IDLE_S: Final = 60.0
# Sources of one download at the same time: more help nothing on one uplink.
MAX_SOURCES: Final = 8
# Chunks that are asked for one behind the other: 4 MiB, which a turning disk reads in 40 ms and
# finds in 10.
RUN_CHUNKS: Final = 16
# Fewer than that in a smaller blob, so that it still has about so many runs to begin with.
RUNS: Final = 32
# A source that sent so many wrong chunks is asked no more.
MAX_FAULTS: Final = 1
# A source that had nothing more may be fetching the same blob: its bitmap is asked for again after
# this long. It has 4 KiB at the most.
HAVE_AGAIN_S: Final = 2.0
# Looking for more sources while there are fewer than wanted.
LOOK_AGAIN_S: Final = 15.0
# A receiver says how far it is at least so often; a sender waits four times as long.
PROGRESS_S: Final = REPLY_TIMEOUT_S / 4
# Files that others send at the same time: all of them, and one peer alone, so that one does not
# hold every place. How large each may be, and how long it may take.
MAX_OFFERS: Final = 4
MAX_OFFERS_PER_PEER: Final = 2
MAX_OFFERED_BYTES: Final = 1024 * MIB
OFFER_TIMEOUT_S: Final = 3600.0
# Transfers that run at the same time, and those that are over and still told of.
MAX_TRANSFERS: Final = 16
MAX_OVER: Final = 32
# A transfer whose sources are away goes on for a day.
TRANSFER_TIMEOUT_S: Final = 86_400.0
# The rate is that of the last samples: 5 s.
SAMPLE_S: Final = 0.5
SAMPLES: Final = 10
# Events of a transfer on its way: each tenth.
PROGRESS_STEPS: Final = 10
# Blobs kept in the index.
MAX_BLOBS: Final = 10_000


@dataclass(frozen=True, slots=True)
class BlobConfig:
    """`quota_bytes`: what the chunks may take on the disk. Past it what was not used for longest
    and is not pinned goes; when everything is pinned nothing more is taken."""

    quota_bytes: int = 4 * 1024 * MIB
    accept_offers: bool = True
    """Whether files that peers send us are fetched, within the quota."""
