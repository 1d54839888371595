"""Limits of the local API, each with its reason."""

from typing import Final

# --- connections and requests ---------------------------------------------------------------------

# A thousand programs of one owner with a kept connection each (the load we promise), event streams,
# and a few more who are told to come back. A connection costs about 30 kB and one open file:
# `fogp2p up` raises the process's limit of those, and says so when the system forbids it.
MAX_CONNECTIONS: Final = 1_200
# Requests being answered at the same time: one of each of the thousand. An answer takes a
# millisecond or two of the processor, so the last of them waits a second or two; more would only
# wait longer.
MAX_REQUESTS: Final = 1_000
# What a client is told to wait after a 503.
RETRY_AFTER_S: Final = 1
# Requests that are being answered get this long when the peer stops.
GRACE_S: Final = 1.0
KEEP_ALIVE_S: Final = 75.0
"""How long an idle connection is kept; also the longest that a request's head may take."""
# A client that takes no byte for so long is cut off: it holds memory and learns nothing.
SEND_TIMEOUT_S: Final = 30.0
# Request line and headers together. Ours have some hundred bytes, a browser's cookies a few kB.
MAX_HEAD_BYTES: Final = 16 * 1024
# Requests carry a few settings; an invite or a registry record has some kilobytes.
MAX_BODY_BYTES: Final = 256 * 1024
# A body comes from the same machine; whoever trickles it means harm or is suspended.
BODY_TIMEOUT_S: Final = 10.0
# After an early answer the rest of a body is taken for a moment, so that the client reads the
# answer instead of a broken pipe.
LINGER_S: Final = 0.5
LINGER_BYTES: Final = 1024 * 1024
# Our deepest body has three levels.
MAX_JSON_DEPTH: Final = 16

# --- what may be asked ----------------------------------------------------------------------------

# The longest a request may wait for a peer.
MAX_TIMEOUT_S: Final = 60.0
DEFAULT_TIMEOUT_S: Final = 10.0
MAX_PINGS: Final = 100
MAX_ECHOES: Final = 10_000
MAX_ECHO_BYTES: Final = 65_536
# All messages of one request are made before the first is sent.
MAX_ECHO_TOTAL_BYTES: Final = 16 * 1024 * 1024

# --- who may ask ----------------------------------------------------------------------------------

# More programs with a token of their own than anybody manages by hand.
MAX_TOKENS: Final = 64
MAX_TOKEN_TTL_S: Final = 366 * 86_400
# Browsers of one owner.
MAX_SESSIONS: Final = 16
SESSION_S: Final = 12 * 3600.0
# From the command that prints the address to the browser that opens it.
LOGIN_CODE_S: Final = 60.0
MAX_LOGIN_CODES: Final = 8
# A mistyped token happens; more in a minute is guessing, which then costs a second each.
BAD_TOKENS_PER_MINUTE: Final = 10
BAD_TOKEN_DELAY_S: Final = 1.0
# Guesses that may wait for their second at once; more are turned away without one.
MAX_DELAYED: Final = 32

# --- events ---------------------------------------------------------------------------------------

# Streams at once, SSE and WebSocket: dashboards, scripts. Each is a task and a buffer of 64 kB.
MAX_SUBSCRIBERS: Final = 64
HEARTBEAT_S: Final = 15.0
# The first frame says what is wanted.
SUBSCRIBE_S: Final = 10.0
MAX_FRAME_BYTES: Final = 4 * 1024
MAX_TYPES: Final = 32
# Events that are put into one write.
EVENTS_PER_WRITE: Final = 64
# A reader that keeps missing events and has not caught up for so long is told to come back later.
BEHIND_S: Final = 30.0

# --- measuring ------------------------------------------------------------------------------------

LAG_SAMPLE_S: Final = 0.25
