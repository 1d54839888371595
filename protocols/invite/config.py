"""Limits of invites, each with its reason."""

from typing import Final

from fogp2p.limits import KIB, MIB

# --- on the wire ---------------------------------------------------------------------------------
# The largest message is a contact card: a name, an id and four addresses.
MAX_MESSAGE_BYTES: Final = 2 * KIB
MAX_NAME_CHARACTERS: Final = 64
# Enough for LAN, internet, IPv6 and a relay; a card is written down at both ends.
CARD_ADDRESSES: Final = 4
MAX_ADDRESS_BYTES: Final = 256
# Open invites one peer tells of when it is asked what it offers.
MAX_OFFERS: Final = 16

# --- waiting -------------------------------------------------------------------------------------
# A whole pairing: four round trips over a slow radio link, 20 ms of arithmetic, three disk writes.
PAIRING_TIMEOUT_S: Final = 20.0
# Whoever opens a stream has its first message ready.
HELLO_TIMEOUT_S: Final = 5.0
# Asking a peer whether it has an invite: connecting (15 s at worst) and one round trip.
ASK_TIMEOUT_S: Final = 17.0
# Asking the peers we are connected to for numbers in use, before one is drawn: people wait for it.
NEARBY_TIMEOUT_S: Final = 1.0
# Once somebody was asked and said no, this long for others to show up.
QUIET_S: Final = 2.0
# An inviter that is busy with somebody else is asked again after this.
BUSY_RETRY_S: Final = 2.0
# The addresses of a link may be old: after this, whoever else knows some is asked as well.
DIAL_S: Final = 5.0
# Telling the DHT of a nameplate: a lookup and twenty stores, in the background.
PROVIDE_TIMEOUT_S: Final = 60.0
# Records in the DHT live for a day or two; without anybody to tell it is tried again soon.
ANNOUNCE_AGAIN_S: Final = 43_200.0
ANNOUNCE_RETRY_S: Final = 60.0
# Pending joins are tried again this often, and when their inviter connects.
RETRY_S: Final = 30.0

# --- guessing ------------------------------------------------------------------------------------
# Three wrong guesses: people mistype; 3 of 4,194,304 is 1 in 1.4 million.
MAX_GUESSES: Final = 3
WORDS: Final = 2
# One to three digits are said quickly; few enough invites are open at once for a number to be free.
MAX_NAMEPLATE: Final = 999
SECRET_BYTES: Final = 16
# Streams that a peer may open: a burst for a person who tries again, then one in two seconds.
ASK_BURST: Final = 10
ASKS_PER_S: Final = 0.5
# Peers whose rate is remembered; the least recently seen is forgotten first.
ASKERS: Final = 1_024
# Streams served at once, over all peers: each may hold a thread for 8 ms.
SERVED_AT_ONCE: Final = 32
# Of one peer: a pairing, and a question beside it.
SERVED_PER_PEER: Final = 2

# --- searching -----------------------------------------------------------------------------------
# Peers asked for one code: a LAN party. Each costs a connection.
MAX_CANDIDATES: Final = 64
ASKED_AT_ONCE: Final = 8
# With those that say yes, this many pairings are begun in the life of one join: each gives the
# other side a guess at our words (specs/invite, section 3).
MAX_PAIRINGS: Final = 8
# One that is busy, slow or playing dead does not hold up the others for longer; it comes again.
CANDIDATE_S: Final = 5.0

# --- time ----------------------------------------------------------------------------------------
DEFAULT_TTL_S: Final = 600.0
MIN_TTL_S: Final = 10.0
# An invite in words that lives longer than a week is a password.
MAX_TTL_S: Final = 7 * 86_400.0
# How long a pairing that was cut in its last steps may be taken up again; a join waits as long.
RESUME_S: Final = 86_400.0

# --- kept ----------------------------------------------------------------------------------------
# A person hands out few at a time, and each one open is three guesses.
MAX_OPEN: Final = 16
MAX_JOINS: Final = 16
# Finished ones are shown for a while; the oldest go first.
MAX_FINISHED: Final = 32
MAX_CONTACTS: Final = 1_024
# 1,024 contacts with four addresses each are below 1.5 MiB.
MAX_FILE_BYTES: Final = 2 * MIB
