"""Errors, events and the real environment."""

from __future__ import annotations

import os
import pickle
import stat
import time
from pathlib import Path

import pytest
import trio

from fogp2p import errors
from fogp2p.environment import DiskError, deadline_of, real_environment, within
from fogp2p.errors import DeadlineExceeded, FogError, RemoteProtocolError, TransportError
from fogp2p.events import EventHub, Gap


def test_every_error_has_its_own_number() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    numbers = [kind.number for kind in kinds if kind is not errors.ProtocolError]
    assert len(set(numbers)) == len(numbers)
    assert all(issubclass(kind, FogError) for kind in kinds)


def test_local_and_remote_faults_are_told_apart() -> None:
    with pytest.raises(TypeError):
        errors.ProtocolError("x", code="y")
    assert not issubclass(errors.LocalProtocolError, RemoteProtocolError)
    error = RemoteProtocolError("what happened", code="some-code", hint="what to do")
    assert (str(error), error.code, error.hint) == ("what happened", "some-code", "what to do")
    assert error.close_hint == "reset"


@pytest.mark.parametrize(
    "error",
    [
        RemoteProtocolError("a", code="b", close_hint="disconnect", hint="c"),
        errors.Unreachable("a", attempts=(("x", "y"),)),
        DeadlineExceeded("a"),
    ],
)
def test_errors_survive_a_process_boundary(error: FogError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert vars(again) == vars(error)


async def test_a_slow_listener_sees_how_many_events_it_missed(autojump_clock: object) -> None:
    hub = EventHub[int](queue=3)
    with hub.listen(first=[100]) as slow, hub.listen() as quick:
        for n in range(5):
            hub.publish(n)
            heard = await anext(quick)
            assert heard == n
        assert await anext(slow) == Gap(3)
        assert [await anext(slow) for _ in range(3)] == [2, 3, 4]
    hub.publish(9)
    with trio.move_on_after(1) as scope:
        await anext(quick)
    assert scope.cancelled_caught


async def test_a_deadline_says_what_took_too_long(autojump_clock: object) -> None:
    with (
        pytest.raises(DeadlineExceeded, match="the answer took too long"),
        deadline_of(within(1), "the answer"),
    ):
        await trio.sleep(2)
    with trio.move_on_after(1) as outer:
        with deadline_of(within(5), "never"):
            await trio.sleep(10)
    assert outer.cancelled_caught


def test_files_are_replaced_whole_and_private(tmp_path: Path) -> None:
    disk = real_environment().disk
    path = tmp_path / "new" / "file"
    assert disk.read(path, max_bytes=10) is None and disk.mode(path) is None
    disk.replace(path, b"one")
    disk.replace(path, b"two")
    assert disk.read(path, max_bytes=3) == b"two"
    assert disk.mode(path) == (0o600, path.stat().st_uid)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    disk.remove(path)
    disk.remove(path)
    assert not path.exists()


def test_what_is_no_small_regular_file_is_refused(tmp_path: Path) -> None:
    disk = real_environment().disk
    big = tmp_path / "big"
    big.write_bytes(bytes(11))
    link = tmp_path / "link"
    link.symlink_to(big)
    for path in (big, link, tmp_path, Path("/dev/zero")):
        with pytest.raises(DiskError):
            disk.read(path, max_bytes=10)
    with pytest.raises(DiskError) as caught:
        disk.replace(Path("/proc/nowhere/file"), b"x")
    assert caught.value.hint


async def test_work_in_a_process_returns_raises_and_survives_its_death() -> None:
    executor = real_environment().executor
    assert await executor.in_process(pow, 2, 10) == 1024
    assert await executor.in_process(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        await executor.in_process(divmod, 1, 0)
    with pytest.raises(TransportError):
        await executor.in_process(os._exit, 1)
    assert await executor.in_process(pow, 2, 3) == 8
    with trio.move_on_after(0.2) as scope:
        await executor.in_process(time.sleep, 1)
    assert scope.cancelled_caught
    executor._pool.shutdown()  # type: ignore[attr-defined]


async def test_work_in_a_thread_returns_and_raises() -> None:
    executor = real_environment().executor
    assert await executor.in_thread(pow, 2, 10) == 1024
    with pytest.raises(ZeroDivisionError):
        await executor.in_thread(divmod, 1, 0)
