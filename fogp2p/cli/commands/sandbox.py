"""fogp2p sandbox run | walls"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import trio

from fogp2p.cli.answers import SandboxRun, SandboxWalls, Wall
from fogp2p.cli.exits import JOB_FAILED
from fogp2p.cli.output import Output, is_terminal, printable, table
from fogp2p.environment import real_environment
from fogp2p.errors import LocalProtocolError
from fogp2p.limits import MIB
from fogp2p.sandbox import Job, Kind, Limits, Result, Sandbox, SandboxConfig, open_sandbox
from fogp2p.schema import answer

__all__ = ["command"]


@click.group("sandbox")
def command() -> None:
    """Try the sandbox that runs other people's jobs, on this machine."""


@command.command("run")
@click.argument("target", metavar="FILE[:FUNCTION]")
@click.option("--args", "arguments", default="[]", help="JSON array of arguments.")
@click.option("--fuel", type=click.IntRange(1), default=10_000_000_000, help="Instructions.")
@click.option("--memory", type=click.IntRange(1, 1024), default=128, help="MiB for the guest.")
@click.option("--wall", type=click.FloatRange(0.01, 3600), default=10.0, help="Seconds.")
@click.option("--strict", is_flag=True, help="No clock, seeded randomness: same result each time.")
@click.pass_obj
@click.pass_context
def run(
    ctx: click.Context,
    output: Output,
    target: str,
    arguments: str,
    fuel: int,
    memory: int,
    wall: float,
    strict: bool,
) -> None:
    """Run FUNCTION of a Python file, or a WebAssembly command, as untrusted code.

    The first Python job builds its runner, which takes half a minute.
    """
    limits = Limits(fuel=fuel, memory=memory * MIB, wall_s=wall)
    job = _job(target, arguments, limits, strict=strict)
    result: Result = trio.run(_attempt, output, job)
    usage = result.usage
    ran = SandboxRun(
        ending=result.ending.value,
        exit_code=result.exit_code,
        value=result.json() if job.kind is Kind.PY_FUNC else None,
        message=result.message,
        stdout=result.stdout.decode("utf-8", "replace"),
        stderr=result.stderr.decode("utf-8", "replace"),
        dropped_bytes=result.dropped,
        fuel=usage.fuel,
        wall_s=round(usage.wall_s, 6),
        runtime=result.runtime,
    )
    lines = [*printable(ran.stdout), *printable(ran.stderr), *printable(ran.message)]
    if job.kind is Kind.PY_FUNC and result.value:
        lines.append(json.dumps(ran.value))
    else:
        lines += printable(result.value)
    output.result(answer(ran), lines)
    output.say(f"{result.ending.value}: {usage.fuel:,} fuel, {usage.wall_s * 1000:.1f} ms")
    if not result.succeeded:
        ctx.exit(JOB_FAILED)


@command.command("walls")
@click.pass_obj
def walls(output: Output) -> None:
    """Show which walls stand round a job on this machine, and why others do not."""
    box: Sandbox = trio.run(_attempt, output, None)
    rows = [[name, "no: " + why if why else "stands"] for name, why in sorted(box.walls.items())]
    found = SandboxWalls(box.runtime, {name: Wall(not why, why) for name, why in box.walls.items()})
    output.result(answer(found), table(["WALL", "STATE"], rows))


async def _attempt(output: Output, job: Job | None) -> Any:
    config = SandboxConfig(output.paths.state / "sandbox", workers=1)
    async with open_sandbox(config, real_environment()) as box:
        if job is None:
            return box
        if job.kind is Kind.PY_FUNC and not box.is_python_ready and is_terminal():
            output.say("building the Python runner; only the first time ...")
        return await box.run(job)


def _job(target: str, arguments: str, limits: Limits, *, strict: bool) -> Job:
    name, _, entry = target.rpartition(":") if ":" in target else (target, "", "")
    path = Path(name)
    try:
        module, args = path.read_bytes(), json.loads(arguments)
    except OSError as exc:
        raise LocalProtocolError(f"cannot read {path}: {exc.strerror}", code="job") from exc
    except ValueError as exc:
        raise LocalProtocolError(f"--args is no JSON: {exc}", code="job") from exc
    if not isinstance(args, list):
        raise LocalProtocolError("--args is a JSON array, such as '[1, 2]'", code="job")
    if path.suffix == ".py":
        if not entry:
            raise LocalProtocolError(
                "name the function", code="job", hint=f"{path}:main, if it is called main"
            )
        return Job(Kind.PY_FUNC, module, entry, args, limits=limits, strict=strict)
    # The fifth byte tells a component (layer 1) from a module (layer 0).
    component = module[6:7] == b"\x01"
    kind = Kind.COMPONENT if component else Kind.WASI_COMMAND
    return Job(kind, module, args=args, limits=limits, strict=strict)
