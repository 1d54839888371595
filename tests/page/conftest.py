"""A real browser, driven over the DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_START_S = 60.0
_TIMEOUT_S = 20.0
# What is written down of each page from its first moment on.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# The page's seconds pass ten times as fast.
_FAST = """
(() => {
  const {setTimeout: later, setInterval: often} = window, now = Date.now, start = now();
  window.setTimeout = (what, ms = 0) => later(what, ms / 10);
  window.setInterval = (what, ms = 0) => often(what, ms / 10);
  Date.now = () => start + 10 * (now() - start);
})();
"""


class Refused(Exception):
    """The browser would not, or the expression failed."""


class Page:
    """One tab."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._session: str | None = None
        self._next = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._more = trio.Event()
        self.console: list[str] = []
        """Errors, warnings and exceptions."""
        self.network: list[str] = []
        """What the browser says of requests that failed."""
        self.requests: list[str] = []
        """Every URL that was asked for."""
        self.dialogs = 0
        """How often something opened an alert."""

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        self._next += 1
        number = self._next
        command = {"id": number, "method": method, "params": params}
        if self._session is not None:
            command["sessionId"] = self._session
        await self._socket.send_message(json.dumps(command))
        with trio.fail_after(_TIMEOUT_S):
            while number not in self._answers:
                await self._more.wait()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise Refused(f"{method}: {answer['error']}")
        return dict(answer["result"])

    async def listen(self) -> None:
        """Sort what comes."""
        while True:
            try:
                message = json.loads(await self._socket.get_message())
            except ConnectionClosed:
                return
            if "id" in message:
                self._answers[message["id"]] = message
                self._more.set()
                self._more = trio.Event()
            else:
                self._noted(message["method"], message["params"])

    def _noted(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.console.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            kept = self.network if entry["source"] == "network" else self.console
            kept.append(f"{entry['text']} {entry.get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs += 1

    async def attach(self, width: int, height: int, scheme: str, *, fast: bool) -> None:
        """Begin with a tab of that size."""
        # It is gone, with its tabs, when the connection of this test ends: a page whose peer has
        # gone would go on looking for it.
        context = (await self.call("Target.createBrowserContext", disposeOnDetach=True))[
            "browserContextId"
        ]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        session = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = session["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        source = _WATCH + (_FAST if fast else "")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def open(self, url: str) -> None:
        """Go there."""
        await self.call("Page.navigate", url=url)

    async def ask(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise Refused(str(result["exceptionDetails"]))
        return result["result"].get("value")

    async def _is(self, expression: str) -> bool:
        try:
            return bool(await self.ask(expression))
        except Refused:  # between two pages
            return False

    async def until(self, expression: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Wait until an expression is true."""
        with trio.move_on_after(timeout_s):
            # The browser has no event for just anything.
            while not await self._is(expression):  # noqa: ASYNC110
                await trio.sleep(0.02)
            return
        text = await self.ask("document.body.innerText")
        raise AssertionError(f"{expression} is not true; the page says:\n{text}")

    async def text(self, selector: str) -> str:
        """What is written there."""
        return str(await self.ask(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def is_clean(self) -> None:
        """Nothing was against the policy, nothing went wrong, nothing foreign ran."""
        assert await self.ask("window.violations") == []
        assert self.console == []
        assert self.dialogs == 0


class Browser:
    """A running Chromium."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def page(
        self, *, width: int = 1280, height: int = 900, scheme: str = "light", fast: bool = False
    ) -> AsyncIterator[Page]:
        """A new tab with cookies of its own. `fast`: its clock runs ten times as fast."""
        async with (
            open_websocket_url(self._url, max_message_size=2**26) as socket,
            trio.open_nursery() as nursery,
        ):
            page = Page(socket)
            nursery.start_soon(page.listen)
            await page.attach(width, height, scheme, fast=fast)
            yield page
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, if it is installed here."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    folder = tmp_path_factory.mktemp("chromium")
    line = [CHROMIUM, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Browser(_devtools(process, folder))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _devtools(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Where it listens, which it writes into a file once it does."""
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            port, path = (folder / "DevToolsActivePort").read_text("ascii").split()
        except (OSError, ValueError):
            time.sleep(0.05)
            continue
        return f"ws://127.0.0.1:{port}{path}"
    raise AssertionError(f"chromium did not start: {(folder / 'log').read_text('utf-8')[-2000:]}")
