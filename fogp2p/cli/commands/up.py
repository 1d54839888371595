"""fogp2p up"""

from __future__ import annotations

from dataclasses import replace

import click

from fogp2p.cli.exits import WrongUse
from fogp2p.cli.output import Output
from fogp2p.cli.settings import load, set_option
from fogp2p.schema import answer

__all__ = ["command"]


@click.command("up")
@click.option("--detach", "-d", is_flag=True, help="Run in the background.")
@click.option("--invite", is_flag=True, help="With -d: make an invite at once; see fogp2p invite.")
@click.option("--ready-fd", type=int, hidden=True, help="Write one line here once ready.")
@set_option
@click.pass_obj
def command(
    output: Output,
    detach: bool,
    invite: bool,
    ready_fd: int | None,
    settings: tuple[str, ...],
) -> None:
    """Start this peer. The first time it makes keys. Ctrl+C stops it."""
    loaded = load(output, settings)
    if detach:
        from fogp2p.cli.background import start_in_background

        up = start_in_background(output, settings)
        lines = [
            f"{up.peer_id} runs in the background, pid {up.pid}",
            "its log: fogp2p logs -f    stop it: fogp2p down",
        ]
        if invite:
            code = output.client().post("invites")["code"]
            up = replace(up, invite=code)
            lines.append(f"the other person types, once, within ten minutes:  fogp2p join {code}")
        output.result(answer(up), lines)
        return
    if invite:
        raise WrongUse("--invite goes with -d", hint="in another terminal: fogp2p invite")
    # A command that only starts another process and waits for it needs nothing of a peer.
    from fogp2p.cli.foreground import run_peer

    run_peer(output, loaded, ready_fd, settings)
