"""The systemd units: written rightly, walled in, and what `fogp2p up` does under one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
SYSTEM, USER = "fogp2p.service", "fogp2p-user.service"
pytestmark = pytest.mark.process

# A wall that falls, or one that nobody can do without: deploy/README.md names what stays open.
MAX_EXPOSURE = 1.2


@pytest.fixture
def analyze() -> str:
    """Where systemd-analyze is."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def _copy(name: str, where: Path) -> Path:
    """The unit with a program that exists."""
    text = (UNITS / name).read_text("utf-8")
    for program in ("/opt/fogp2p/bin/fogp2p", "%h/.local/bin/fogp2p"):
        text = text.replace(f"ExecStart={program}", "ExecStart=/bin/true")
    copy = where / name
    copy.write_text(text, "utf-8")
    return copy


@pytest.mark.parametrize("name", [SYSTEM, USER])
def test_the_unit_has_no_mistakes(name: str, analyze: str, tmp_path: Path) -> None:
    scope = ["--user"] if name == USER else []
    line = [analyze, *scope, "verify", "--man=no", str(_copy(name, tmp_path))]
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environ)
    said = [each for each in done.stderr.splitlines() if name in each]
    assert (done.returncode, said) == (0, []), done.stderr


def test_a_mistake_would_be_seen(analyze: str, tmp_path: Path) -> None:
    copy = _copy(SYSTEM, tmp_path)
    copy.write_text(copy.read_text("utf-8").replace("[Service]", "[Service]\nNoNewPrivilegs=yes"))
    line = [analyze, "verify", "--man=no", str(copy)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert "NoNewPrivilegs" in done.stderr


def test_the_wall_is_as_high_as_the_page_says(analyze: str, tmp_path: Path) -> None:
    base = [analyze, "security", "--offline=true"]
    copy = str(_copy(SYSTEM, tmp_path))
    limit = f"--threshold={round(MAX_EXPOSURE * 10)}"
    done = subprocess.run([*base, limit, copy], capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze reads no unit files (before version 250)")
    assert done.returncode == 0, done.stdout
    assert f"{MAX_EXPOSURE} of 10" in (ROOT / "deploy" / "README.md").read_text("utf-8")
    listed = subprocess.run([*base, "--json=short", copy], capture_output=True, timeout=60)
    walls = {each["json_field"]: each["set"] for each in json.loads(listed.stdout)}
    for wall in (
        "ProtectSystem",
        "ProtectHome",
        "NoNewPrivileges",
        "PrivateDevices",
        "PrivateTmp",
        "ProtectProc",
        "CapabilityBoundingSet_CAP_SYS_ADMIN",
        "SystemCallFilter_privileged",
    ):
        assert walls[wall], wall
    # Open for the reasons in deploy/README.md, and therefore not closed by accident.
    for gap in ("MemoryDenyWriteExecute", "ProcSubset", "SystemCallFilter_resources"):
        assert not walls[gap], gap


def test_both_units_start_again_and_are_watched() -> None:
    for name in (SYSTEM, USER):
        text = (UNITS / name).read_text("utf-8").splitlines()
        for needed in ("Type=notify", "Restart=on-failure", "WatchdogSec=30", "LimitCORE=0"):
            assert needed in text, (name, needed)


def test_multicast_works_in_the_view_of_processes_that_the_unit_gives() -> None:
    """ProtectProc= and ProcSubset= as the unit has them, in a mount namespace of our own."""
    words = dict(
        line.split("=", 1)
        for line in (UNITS / SYSTEM).read_text("utf-8").splitlines()
        if "=" in line
    )
    options = f"hidepid={words['ProtectProc']},subset={words.get('ProcSubset', '')}"
    options = options.removesuffix(",subset=")
    inner = f"mount -t proc -o {options} proc /proc && exec {sys.executable} -c "
    code = "import psutil; assert 'lo' in psutil.net_if_stats()"
    line = ["unshare", "-rmpf", "sh", "-c", f'{inner}"{code}"']
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    if "mount:" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"the kernel gives no namespaces: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
