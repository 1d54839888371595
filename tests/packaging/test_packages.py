"""What is built and installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.packaging


# What a build has no use for, in any folder.
_NOT_SOURCE = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "*.egg-info",
    "build",
    "dist",
    "node_modules",
    "bin",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel made from it.

    They are made from a copy: a build writes beside its sources, where another test process may be
    building too.
    """
    copy, out = tmp_path_factory.mktemp("source") / "fogp2p", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, copy, ignore=_NOT_SOURCE)
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(line, check=True, capture_output=True, timeout=240)
    return out


def test_the_wheel_adds_one_package_only(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"fogp2p", "fogp2p-0.1.0.dist-info"}
    for needed in (
        "fogp2p/py.typed",
        "fogp2p/transports/libp2p/yamux.py",
        "fogp2p/protocols/mix/sphinx.py",
        "fogp2p/specs/versioning/v1.cddl",
        "fogp2p/testing/contract.py",
        "fogp2p/cli/commands/up.py",
        "fogp2p/web/static/index.html",
        "fogp2p/web/static/app.js",
    ):
        assert needed in names
    assert not any("test_" in name or name.endswith(".pyc") for name in names)


def test_the_sdist_has_what_a_redistributor_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    for needed in (
        "LICENSE",
        "README.md",
        "Makefile",
        "requirements/run.lock",
        "specs/versioning/v1.cddl",
        "tests/packaging/test_packages.py",
        "transports/memory/host.py",
    ):
        assert needed in names


@pytest.mark.attack(101)
def test_an_altered_wheel_is_not_installed(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    altered = shelf / wheel.name
    altered.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(altered, "a") as archive:
        archive.writestr("fogp2p/extra.py", "print('owned')\n")
    honest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "lock"
    lock.write_text(f"fogp2p==0.1.0 --hash=sha256:{honest}\n")
    line = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--require-hashes"]
    line += ["--find-links", str(shelf), "--target", str(tmp_path / "site"), "-r", str(lock)]
    refused = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "DO NOT MATCH" in refused.stderr.upper()
    assert not (tmp_path / "site" / "fogp2p").exists()
    altered.write_bytes(wheel.read_bytes())
    assert subprocess.run(line, capture_output=True, timeout=60).returncode == 0


@pytest.mark.attack(101)
def test_every_line_of_the_locks_is_hashed() -> None:
    for name in ("run", "dev", "build"):
        text = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")
        entries = [block for block in text.replace("\\\n", " ").splitlines() if "==" in block]
        pinned = [entry for entry in entries if not entry.lstrip().startswith("#")]
        assert pinned and all("--hash=sha256:" in entry for entry in pinned)
