"""What leaves a context manager that runs tasks."""

from __future__ import annotations

import pytest
import trio

from fogp2p.tasks import open_tasks


async def _fail(error: Exception) -> None:
    raise error


async def test_one_error_comes_out_as_itself() -> None:
    with pytest.raises(KeyError):
        async with open_tasks():
            raise KeyError
    with pytest.raises(KeyError):
        async with open_tasks() as outer, trio.open_nursery() as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(_fail, KeyError())


async def test_several_errors_stay_together() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_tasks() as tasks:
            tasks.start_soon(_fail, KeyError())
            tasks.start_soon(_fail, ValueError())
    assert {type(each) for each in caught.value.exceptions} == {KeyError, ValueError}


async def test_cancellation_passes() -> None:
    with trio.move_on_after(0.01) as scope:
        async with open_tasks() as tasks:
            tasks.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught
