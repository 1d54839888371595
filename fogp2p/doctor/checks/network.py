"""Ports and multicast. Nothing is sent further than the local link."""

from __future__ import annotations

from collections.abc import Iterator

from fogp2p.addresses import parse_address
from fogp2p.doctor.context import Context
from fogp2p.doctor.findings import Finding, fault, fine
from fogp2p.doctor.system import Interface

__all__ = ["multicast", "ports"]


def ports(context: Context) -> Iterator[Finding]:
    """Whether every address in the configuration can be listened on, or is by our own peer."""
    if context.config is None:
        return
    ours = _ports_of_peer(context)
    for text in context.config.config.network.listen:
        ip, port = _endpoint(text)
        if port == 0:
            yield fine("ports", f"{text} takes any free port", place=text)
        elif port in ours:
            yield fine("ports", f"{text} is held by this peer itself", place=text)
        else:
            yield _try(context, text, ip, port)


def _try(context: Context, text: str, ip: str, port: int) -> Finding:
    why = context.system.bind(ip, port)
    if not why:
        return fine("ports", f"{text} is free", place=text)
    if why == "taken":
        holder = context.system.holder(port)
        return fault(
            "ports",
            "FOG-DOC-030",
            f"port {port} is taken",
            evidence=f"held by {holder or 'a process that you may not look at'}",
            affects="the next start: the peer cannot listen",
            hint=f"stop {holder or 'it'}, or: "
            f"fogp2p config set network.listen {text.replace(f'/{port}', '/0')}",
            place=text,
        )
    return fault(
        "ports",
        "FOG-DOC-031",
        f"{text} cannot be listened on",
        evidence=why,
        affects="the next start: the peer cannot listen",
        hint="fogp2p config set network.listen /ip4/0.0.0.0/tcp/7460",
        place=text,
    )


def _ports_of_peer(context: Context) -> set[int]:
    if context.peer is None:
        return set()
    return {_endpoint(address)[1] for address in context.peer.status["addresses"]}


def _endpoint(text: str) -> tuple[str, int]:
    parts = {protocol.name: str(value) for protocol, value in parse_address(text).items()}
    port = parts.get("tcp", "0")
    return parts.get("ip4") or parts.get("ip6") or "0.0.0.0", int(port)  # noqa: S104 - as configured


def multicast(context: Context) -> Iterator[Finding]:
    """Whether peers on the local network can be found: join, send, and hear ourselves (IPv4)."""
    if context.config is not None and not context.config.config.discovery.mdns:
        yield fine("multicast", "not needed: discovery.mdns is off")
        return
    wanted = context.config.config.discovery.mdns_interfaces if context.config else ()
    tried = [each for each in context.system.interfaces() if _is_wanted(each, wanted)]
    if not tried:
        yield fault(
            "multicast",
            "FOG-DOC-033",
            "no interface can do multicast",
            evidence=f"wanted: {', '.join(wanted) or 'any but loopback'}; none of them is up",
            affects="peers on the local network are not found",
            hint="connect to a network; or name peers: fogp2p config set discovery.bootstrap ADDR",
        )
    for each in tried:
        why = context.system.multicast(each)
        if not why:
            yield fine("multicast", f"works on {each.name} ({each.address})", place=each.name)
            continue
        yield fault(
            "multicast",
            "FOG-DOC-032",
            f"multicast does not work on {each.name}",
            evidence=f"{each.address}: {why}",
            affects="peers on that network are not found by themselves",
            hint="let UDP port 5353 to 224.0.0.251 through the firewall; "
            f"is multicast on? ip link show {each.name}",
            place=each.name,
        )


def _is_wanted(interface: Interface, wanted: tuple[str, ...]) -> bool:
    return interface.name in wanted if wanted else not interface.is_loopback
