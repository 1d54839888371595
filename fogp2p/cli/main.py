"""Entry point: global options, lazy commands, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

import click

from fogp2p.errors import FogError

from .exits import FAILED, INTERRUPTED, TERMINATED, WrongUse, exit_code, report
from .output import Output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "cli", "hoisted", "main"]

COMMANDS: Final = {
    "up": "start this peer",
    "down": "stop it",
    "status": "what it does, and why it does nothing",
    "wait": "wait until it is ready, has peers, or a service runs",
    "services": "the parts it consists of; restart one",
    "peers": "the peers it is connected to",
    "ping": "measure the round trip to a peer",
    "id": "this peer's name and addresses",
    "invite": "let one other peer in: words or a link, used once",
    "join": "accept an invite, or list those on this network",
    "contacts": "the peers that an invite has verified",
    "send": "send a file to a peer",
    "get": "fetch a file by its name, from whoever has it",
    "share": "offer a file; prints what others type",
    "blobs": "the files this peer keeps, and the transfers",
    "group": "conversations that are the same for all members",
    "doctor": "look for faults of this machine and name the repair",
    "config": "show, check, change and find the configuration",
    "events": "what happens in it, as JSON Lines",
    "logs": "its log",
    "dashboard": "a link to its page for the browser",
    "backup": "write keys, store and configuration into one file",
    "restore": "put the files of a backup in place",
    "conformance": "check whether a peer keeps the specifications",
    "sandbox": "try the sandbox for untrusted jobs",
    "testnet": "run several peers on this machine",
    "simulate": "a whole network in this process, with faults from a seed",
    "demo": "a scripted tour of a local network, with proof",
    "docs": "the manual, error codes, completion, man pages",
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
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else " See fogp2p --help."
            ctx.fail(f"no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table: help must not import every command, and neither must completion.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=about)
            for name, about in COMMANDS.items()
            if name.startswith(incomplete)
        ]


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The global options may stand before or after the command.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with a versioned schema.")
@click.option("--quiet", "-q", is_flag=True, help="Print results only.")
@click.option("--verbose", "-v", is_flag=True, help="Say more.")
@click.option("--no-color", is_flag=True, help="No colours; so does the variable NO_COLOR.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before something harmful.")
@click.option("--home", metavar="DIR", help="Keep everything of this peer below DIR.")
@click.option("--api", metavar="SOCKET|URL", help="Ask the peer that answers there.")
@click.option(
    "--timeout", type=click.FloatRange(0.01, 86_400), default=10.0, help="Seconds to wait."
)
@click.pass_context
def cli(
    ctx: click.Context,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    no_color: bool,
    yes: bool,
    home: str | None,
    api: str | None,
    timeout: float,
) -> None:
    """A peer-to-peer node: it finds others on your network and talks to them."""
    color = not no_color and not os.environ.get("NO_COLOR")
    ctx.obj = Output(
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        color=color,
        yes=yes,
        home=home,
        api=api,
        timeout_s=timeout,
    )


_FLAGS: Final = frozenset(
    {"--json", "--quiet", "-q", "--verbose", "-v", "--no-color", "--yes", "-y"}
)
_WITH_VALUE: Final = frozenset({"--home", "--api", "--timeout"})


def hoisted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(global options, the rest): the former may be typed anywhere before a `--`."""
    front: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += [word, *left]
            break
        if word in _FLAGS or word.partition("=")[0] in _WITH_VALUE:
            front.append(word)
            if word in _WITH_VALUE and left:
                front.append(left.pop(0))
        else:
            rest.append(word)
    return front, rest


def main() -> None:
    """Run the command line and exit with a code of docs/reference/exit-codes.md."""
    options, words = hoisted(sys.argv[1:])
    as_json = "--json" in options
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = cli.main([*options, *words], prog_name="fogp2p", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except click.ClickException as exc:
        code = _wrong_use(exc, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except FogError as exc:
        report(exc, as_json=as_json)
        code = exit_code(exc)
    except BrokenPipeError:
        # Whoever read our output has gone, and there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _wrong_use(exc: click.ClickException, *, as_json: bool) -> int:
    if not as_json:
        exc.show()
        return exc.exit_code
    ctx = exc.ctx if isinstance(exc, click.UsageError) else None
    wrong = WrongUse(exc.format_message(), hint=f"{ctx.command_path if ctx else 'fogp2p'} --help")
    report(wrong, as_json=True)
    return exit_code(wrong)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED)
