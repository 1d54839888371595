"""The Python runner component: where it is kept, and how it is built."""

from .build import build_runner, runner_path

__all__ = ["build_runner", "runner_path"]
