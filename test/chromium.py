# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Drive a Chromium of the system over its DevTools protocol, by pipes, to look at pages."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)


def installed() -> str | None:
    """The path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """A page in a browser, and what it complained about."""

    def __init__(self, to: int, back: int):
        self._to, self._back = to, os.fdopen(back, "rb")
        self._number, self._session, self._rest = 0, "", b""
        self.complaints: list[str] = []
        """Errors and warnings of its console, exceptions, and violations of its policy."""
        self.requests: list[str] = []
        """Whatever it asked for that is not in it."""
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]

    def _next(self) -> dict[str, Any]:
        """The next message; events are noted."""
        while b"\0" not in self._rest:
            more = self._back.read1()
            assert more, "the browser has ended"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(text)
        match found.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(found["params"]["exceptionDetails"]))
            case "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.complaints.append(str(found["params"]))
            case "Network.requestWillBeSent":
                self.requests.append(found["params"]["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True
        return found

    def open(self, page: Path, width: int, dark: bool = False, media: str = "screen") -> Self:
        """Load a page in a window of a width."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._next()
        return self

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is, after the page has drawn what it wants to."""
        drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        found = self.call(
            "Runtime.evaluate",
            expression=f"{drawn}.then(() => {expression})",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def pdf(self, width: int, height: int) -> bytes:
        """What is printed on paper of a size in mm."""
        size = {"paperWidth": width / 25.4, "paperHeight": height / 25.4}
        found = self.call("Page.printToPDF", **size, preferCSSPageSize=True, generateTaggedPDF=True)
        return b64decode(found["data"])

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(b64decode(found["data"]))


@contextmanager
def browser(chromium: str, folder: Path) -> Generator[Tab]:
    """A tab of a browser that keeps its data in a folder, and ends behind the block."""
    (from_us, to), (back, from_browser) = os.pipe(), os.pipe()
    command = [chromium, *FLAGS, f"--user-data-dir={folder}"]
    wired = f'exec "$@" 3<&{from_us} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", wired, "bash", *command],
        pass_fds=(from_us, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(from_browser)
    try:
        yield Tab(to, back)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to)
