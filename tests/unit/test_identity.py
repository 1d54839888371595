"""Keys in memory and in their file."""

from __future__ import annotations

import copy
import pickle
import random
import traceback
from pathlib import Path

import pytest

from fogp2p.environment import Environment
from fogp2p.errors import KeystoreError, LocalProtocolError
from fogp2p.identity import Identity, Keystore, KeyType, ephemeral, verify
from fogp2p.testing import MemoryDisk, sim_environment
from fogp2p.testing.disk import Fault

PATH = Path("/home/ada/data/identity")
# The smallest argon2id that libsodium accepts: these tests are about the file, not the cost.
CHEAP = {"ops": 1, "memory": 8192}


def _store() -> tuple[Keystore, Environment]:
    environment = sim_environment(1, "ada")
    return Keystore(PATH, environment), environment


def _disk(environment: Environment) -> MemoryDisk:
    assert isinstance(environment.disk, MemoryDisk)
    return environment.disk


@pytest.mark.parametrize("key_type", ["ed25519", "secp256k1"])
@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_what_was_stored_is_loaded(key_type: KeyType, passphrase: str | None) -> None:
    store, environment = _store()
    made = store.create(key_type=key_type, passphrase=passphrase, **CHEAP)
    assert _disk(environment).mode(PATH) is not None
    loaded = store.load(passphrase=passphrase)
    assert loaded == made and loaded.peer_id == made.peer_id
    assert store.is_encrypted() is (passphrase is not None)
    assert verify(made.peer_id, b"x", loaded.sign(b"x"))
    assert not verify(made.peer_id, b"y", loaded.sign(b"x"))


def test_an_existing_file_is_never_replaced_by_new_keys() -> None:
    store, _ = _store()
    store.create()
    with pytest.raises(KeystoreError, match="exists already"):
        store.create()


def test_wrong_and_missing_passphrases_are_told_apart() -> None:
    store, _ = _store()
    store.create(passphrase="one", **CHEAP)
    with pytest.raises(KeystoreError, match="wrong passphrase"):
        store.load(passphrase="two")
    with pytest.raises(KeystoreError, match="is locked"):
        store.load()


@pytest.mark.spec("IDN-001")
def test_every_flipped_bit_is_noticed() -> None:
    """Damage never loads as other keys; only in an unencrypted file a key byte may change."""
    store, environment = _store()
    made = store.create(passphrase="one", **CHEAP)
    disk = _disk(environment)
    size = len(disk.read(PATH, max_bytes=10_000) or b"")
    source = random.Random(7)
    for bit in source.sample(range(8 * size), 40):
        disk.flip(PATH, bit)
        try:
            # A changed cost parameter may also be refused as out of range.
            assert store.load(passphrase="one") == made
            pytest.fail(f"bit {bit} was flipped and nobody noticed")
        except KeystoreError:
            disk.flip(PATH, bit)
    assert store.load(passphrase="one") == made


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.CRASH_BEFORE])
def test_a_failed_write_leaves_the_old_keys(fault: Fault) -> None:
    store, environment = _store()
    made = store.create()
    _disk(environment).fault = fault
    with pytest.raises(Exception, match="cannot write"):
        store.save(made.rotated(5, environment.random), passphrase=None)
    assert store.load() == made


@pytest.mark.spec("IDN-002")
@pytest.mark.attack(100)
def test_a_file_of_a_newer_version_is_refused_with_its_version() -> None:
    store, environment = _store()
    store.create()
    disk = _disk(environment)
    data = disk.read(PATH, max_bytes=10_000) or b""
    disk.replace(PATH, data[:2] + b"\x02" + data[3:])
    with pytest.raises(KeystoreError, match="has version 2, this program reads version 1"):
        store.load()


@pytest.mark.spec("IDN-005")
@pytest.mark.attack(98)
def test_a_clock_that_jumped_back_does_not_bring_back_destroyed_keys() -> None:
    source = random.Random(1)
    later = ephemeral(source).rotated(1_000, source)
    assert [keys.number for keys in later.epochs] == [1_000, 1_001]
    with pytest.raises(LocalProtocolError, match="is the clock wrong"):
        later.rotated(10, source)
    far = later.rotated(50_000, source)
    assert [keys.number for keys in far.epochs] == [50_000, 50_001]


@pytest.mark.attack(94)
def test_keys_show_in_no_text() -> None:
    source = random.Random(1)
    identity = ephemeral(source).rotated(3, source)
    secrets = [identity.libp2p_private_key(), identity.noise_private_key(), identity.epochs[0].mix]
    texts = [repr(identity), str(identity), repr(identity.epochs), f"{identity!r}"]
    with pytest.raises(KeystoreError) as caught:
        _store()[0].load()
    form_of = traceback.TracebackException.from_exception(caught.value)
    texts += form_of.format()
    for secret in secrets:
        for form in (secret.hex(), repr(secret)[2:-1]):
            assert not any(form in text for text in texts)


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy])
def test_keys_are_not_copied_by_accident(act: object) -> None:
    identity = ephemeral(random.Random(1))
    with pytest.raises(TypeError, match="not pickled"):
        act(identity)  # type: ignore[operator]
    assert isinstance(identity, Identity)
