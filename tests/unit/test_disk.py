"""Large files on a real disk and on the one in memory: the two must not be told apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.environment import Disk, DiskError, real_environment
from fogp2p.testing import MemoryDisk

BLOCK = 256 * 1024


@pytest.fixture(params=["real", "memory"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return MemoryDisk() if request.param == "memory" else real_environment().disk


def test_parts_are_written_one_behind_the_other(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "new" / "large"
    assert disk.read_at(path, 0, 9) is None and disk.stamp(path) is None
    disk.write_at(path, 0, [b"ab", memoryview(b"xcdex")[1:4], b"f"])
    assert disk.read_at(path, 1, 4) == b"bcde"
    disk.write_at(path, 2, [b"CD"])
    assert disk.read_at(path, 0, 99) == b"abCDef"
    assert disk.read(path, max_bytes=6) == b"abCDef"
    assert disk.mode(path) == (0o600, os.geteuid())
    with pytest.raises(DiskError, match="larger"):
        disk.read(path, max_bytes=5)
    disk.remove(path)
    assert disk.read_at(path, 0, 1) is None


def test_what_was_never_written_reads_as_zeros(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "large"
    disk.write_at(path, 2 * BLOCK + 5, [b"end"])
    assert disk.read_at(path, BLOCK - 1, BLOCK + 9) == bytes(BLOCK + 6) + b"end"
    assert disk.read_at(path, 2 * BLOCK + 8, 1) == b""
    disk.write_at(path, BLOCK - 2, [b"across"])
    assert disk.read_at(path, BLOCK - 3, 8) == b"\0across\0"


def test_the_stamp_changes_with_the_content(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "large"
    disk.write_at(path, 0, [b"a"])
    first = disk.stamp(path)
    assert disk.stamp(path) == first
    disk.write_at(path, 1, [b"b"])
    assert disk.stamp(path) != first


def _can_be_asked(path: Path) -> bool:
    """Whether system and file system tell what is in memory (Linux: most of them)."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except (AttributeError, OSError):
            return False


def test_what_is_in_memory_is_read_at_once(tmp_path: Path) -> None:
    """A file just written is in the page cache; where that cannot be asked, nothing is given."""
    disk, path = real_environment().disk, tmp_path / "large"
    assert disk.read_at_once(path, 0, 4) is None
    disk.write_at(path, 0, [b"abcd"])
    expected = b"bcd" if _can_be_asked(path) else None
    assert disk.read_at_once(path, 1, 3) == expected
    assert disk.read_at_once(path, 1, 9) is None  # not all of it is there


def test_links_and_directories_are_refused(tmp_path: Path) -> None:
    disk = real_environment().disk
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"kept")
    link.symlink_to(target)
    with pytest.raises(DiskError):
        disk.write_at(link, 0, [b"x"])
    with pytest.raises(DiskError):
        disk.read_at(link, 0, 1)
    with pytest.raises(DiskError):
        disk.read_at(tmp_path, 0, 1)
    with pytest.raises(DiskError):
        disk.write_at(target / "below", 0, [b"x"])
    with pytest.raises(DiskError):
        disk.stamp(target / "below")
    assert target.read_bytes() == b"kept"


def test_more_parts_than_the_system_takes_at_once(tmp_path: Path) -> None:
    parts = [bytes((n % 256,)) for n in range(3_000)]
    real_environment().disk.write_at(tmp_path / "many", 7, parts)
    assert (tmp_path / "many").read_bytes() == bytes(7) + b"".join(parts)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * BLOCK),
            st.binary(max_size=9),
            st.sampled_from([0, 1, BLOCK - 1, BLOCK]),
        ),
        max_size=6,
    )
)
def test_the_disk_in_memory_is_a_file(writes: list[tuple[int, bytes, int]]) -> None:
    disk, path, model = MemoryDisk(), Path("/large"), bytearray()
    for offset, data, zeros in writes:
        whole = data + bytes(zeros)
        disk.write_at(path, offset, [data, bytes(zeros)])
        if whole:
            model.extend(bytes(max(0, offset + len(whole) - len(model))))
            model[offset : offset + len(whole)] = whole
        assert (disk.read_at(path, 0, 5 * BLOCK) or b"") == model
        assert (disk.read_at(path, offset, 10) or b"") == model[offset : offset + 10]
