"""Entry point: global options, lazy commands, and the one place where errors become exit codes."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Final

import click

from fogp2p.errors import FogError

from .output import Output, exit_code, report

__all__ = ["main"]

COMMANDS: Final = {
    "up": "start this peer",
    "down": "stop it",
    "status": "what it does, and why it does nothing",
    "peers": "the peers it is connected to",
    "ping": "measure the round trip to a peer",
    "id": "this peer's name and addresses",
    "config": "show, check and find the configuration",
    "sandbox": "try the sandbox for untrusted jobs",
    "testnet": "run several peers on this machine",
    "simulate": "a whole network in this process, with faults from a seed",
    "demo": "a scripted tour of a local network, with proof",
    "version": "which version this is",
}


class _Lazy(click.Group):
    """Imports a command's module when somebody uses it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"fogp2p.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else " See fogp2p --help."
            ctx.fail(f"no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table: help must not import every command.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print JSON with a versioned schema.")
@click.option("--quiet", "-q", is_flag=True, help="Print results only.")
@click.option("--home", metavar="DIR", help="Keep everything of this peer below DIR.")
@click.option(
    "--timeout", type=click.FloatRange(0.01, 60), default=10.0, help="Seconds to wait for a peer."
)
@click.pass_context
def cli(ctx: click.Context, as_json: bool, quiet: bool, home: str | None, timeout: float) -> None:
    """A peer-to-peer node: it finds others on your network and talks to them."""
    ctx.obj = Output(as_json=as_json, quiet=quiet, home=home, timeout_s=timeout)


def main() -> None:
    """Run the command line and exit with a code of docs/reference/exit-codes.md."""
    as_json = "--json" in sys.argv
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except click.ClickException as exc:
        exc.show()
        code = exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except FogError as exc:
        report(exc, as_json=as_json)
        code = exit_code(exc)
    except BrokenPipeError:
        # Whoever read our output has gone, and there is nobody left to tell.
        sys.stderr.close()
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
