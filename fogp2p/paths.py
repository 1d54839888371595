"""Where a peer keeps its files. Reads environment variables when asked, never at import.

With a home (`--home DIR` or `FOGP2P_HOME`) everything stands below that one directory; without one
the places are those of the XDG base directory specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError

__all__ = ["Paths", "default_paths", "home_paths", "locate"]

# sun_path holds 108 bytes on Linux and 104 on macOS, with the closing zero.
_MAX_SOCKET_PATH = 103


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of one peer. Nothing here says that they exist."""

    config: Path
    """The TOML file of the configuration."""
    data: Path
    """Directory of what cannot be made again: the keystore and the store."""
    state: Path
    """Directory of what the peer learned: known peers, log."""
    run: Path
    """Directory of what lives as long as the process: API socket and lock."""

    @property
    def keystore(self) -> Path:
        """The keystore file."""
        return self.data / "identity"

    @property
    def invites(self) -> Path:
        """Invites, pending joins and contacts; holds the secrets of open ones."""
        return self.data / "invites"

    @property
    def store(self) -> Path:
        """The durable store; SQLite and the store keep more files beside it."""
        return self.data / "store.db"

    @property
    def blobs(self) -> Path:
        """Directory of the blobs."""
        return self.data / "blobs"

    @property
    def registry(self) -> Path:
        """The numbers of our own descriptors."""
        return self.state / "registry"

    @property
    def gossip_numbers(self) -> Path:
        """Below which number all of our own messages may be."""
        return self.state / "gossip-numbers"

    @property
    def known_peers(self) -> Path:
        """Addresses of peers met before."""
        return self.state / "known-peers"

    @property
    def log(self) -> Path:
        """Where a peer in the background writes its log."""
        return self.state / "fogp2p.log"

    @property
    def lock(self) -> Path:
        """Held by the process that runs this peer."""
        return self.data / "lock"

    @property
    def token(self) -> Path:
        """The token of the local API's door on loopback, while it is open."""
        return self.run / "api.token"

    @property
    def socket(self) -> Path:
        """The local API. Raises ConfigError when the system cannot bind so long a name."""
        path = self.run / "api.sock"
        if len(str(path).encode()) > _MAX_SOCKET_PATH:
            raise ConfigError(
                f"the socket's path has more than {_MAX_SOCKET_PATH} bytes: {path}",
                hint="choose a shorter --home",
            )
        return path


def home_paths(home: Path) -> Paths:
    """Everything below `home`."""
    home = home.expanduser().absolute()
    return Paths(home / "config.toml", home / "data", home / "state", home / "run")


def default_paths(environ: Mapping[str, str]) -> Paths:
    """The user's own directories; the socket in XDG_RUNTIME_DIR, or beside the state without it.

    The library's fallback for a missing runtime directory is a shared /tmp, which a socket that
    is protected by file rights must not use.
    """
    from platformdirs import PlatformDirs  # costs a tenth of `fogp2p --home DIR status`

    dirs = PlatformDirs("fogp2p", appauthor=False)
    state = Path(dirs.user_state_dir)
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    run = Path(runtime) / "fogp2p" if runtime else state / "run"
    return Paths(Path(dirs.user_config_dir) / "config.toml", Path(dirs.user_data_dir), state, run)


def locate(home: str | None, environ: Mapping[str, str]) -> Paths:
    """The paths for `--home` (None: not given), `FOGP2P_HOME` or the defaults, in this order."""
    chosen = home if home is not None else environ.get("FOGP2P_HOME", "")
    return home_paths(Path(chosen)) if chosen else default_paths(environ)
