"""The keystore file under kill -9, and on disk."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fogp2p.environment import real_environment
from fogp2p.identity import Keystore

pytestmark = pytest.mark.process

_ROTATE = """
import sys
from pathlib import Path
from fogp2p.environment import real_environment
from fogp2p.identity import Keystore
environment = real_environment()
store = Keystore(Path(sys.argv[1]), environment)
identity = store.load()
print(".", flush=True)
for epoch in range(int(sys.argv[2]), 10**9):
    identity = identity.rotated(epoch, environment.random)
    store.save(identity, passphrase=None)
"""


@pytest.mark.spec("IDN-003")
def test_kill_9_during_a_rotation_leaves_whole_keys(tmp_path: Path) -> None:
    path = tmp_path / "data" / "identity"
    store = Keystore(path, real_environment())
    made = store.create()
    source = random.Random(3)
    epoch = 1
    for _ in range(6):
        line = [sys.executable, "-c", _ROTATE, str(path), str(epoch)]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline() == b".\n"
            try:
                child.wait(source.uniform(0.005, 0.08))
            except subprocess.TimeoutExpired:
                child.kill()
            child.wait()
        after = store.load()
        assert after.peer_id == made.peer_id
        numbers = [keys.number for keys in after.epochs]
        assert numbers == sorted(numbers) and len(numbers) <= 3
        epoch = max(numbers, default=epoch)


@pytest.mark.attack(94)
def test_no_file_of_a_peer_with_a_passphrase_holds_a_key(tmp_path: Path) -> None:
    environ = os.environ | {"FOGP2P_PASSPHRASE": "correct horse battery"}
    base = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path)]
    up = [
        "up",
        "-d",
        "--set",
        "network.listen=/ip4/127.0.0.1/tcp/0",
        "--set",
        "discovery.mdns=false",
    ]
    up += ["--set", "log.level=debug"]
    subprocess.run(base + up, check=True, capture_output=True, env=environ, timeout=60)
    subprocess.run([*base, "down"], check=True, capture_output=True, timeout=60)
    store = Keystore(tmp_path / "data" / "identity", real_environment())
    identity = store.load(passphrase="correct horse battery")
    secrets = [identity.libp2p_private_key(), identity.noise_private_key(), b"correct horse"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content and secret.hex().encode() not in content


@pytest.mark.attack(94)
def test_a_peer_leaves_no_core_dump() -> None:
    code = (
        "import ctypes, resource\n"
        "from fogp2p.process import harden\n"
        "harden()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "(0, 0) 0\n"
