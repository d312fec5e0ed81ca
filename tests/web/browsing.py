"""A real server with the viewer, and a real browser on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from serving import served as served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "no chromium with its driver is installed"

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)

AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => done(violations.map(
  ({ id, impact, nodes }) => [impact, id, nodes.map(({ html }) => html.slice(0, 200))])));
"""


def axe_core() -> str:
    """The source of axe-core, which is only read; its package is for another browser driver."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core comes with it")
    return (files(package) / "axe.min.js").read_text("utf-8")


@contextmanager
def browser(profile: Path, size: tuple[int, int] = (1440, 1000)) -> Iterator[Browser]:
    """Start a browser with a fresh profile, whose downloads go there, too."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile / 'profile'}"):
        options.add_argument(flag)
    downloads = profile / "downloads"
    downloads.mkdir(parents=True)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(DRIVER))
    try:
        driver.set_window_size(*size)
        yield Browser(driver, downloads)
    finally:
        driver.quit()


class Browser:
    """The page in one visitor's browser."""

    def __init__(self, driver: Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads
        self.address = ""
        self._requests: list[tuple[str, str]] = []

    def open(self, address: str, seen: str = "#explain .map .picture canvas[height]") -> None:
        self.address = address
        self.driver.get(address)
        self.wait(seen)
        self.settle()

    def forget(self) -> None:
        """Become a new visitor; leave first, so that the page sends nothing with the new cookie."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.complaints()
        self.requests()
        self._requests.clear()
        for file in self.downloads.iterdir():
            file.unlink()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page; a window cannot be as narrow as a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self._unchanged(lambda: self.find(selector).text)

    def wait(self, selector: str, seconds: float = 20) -> Any:
        """Wait until an element is visible."""

        def seen(_: Any) -> Any:
            found = self.all(selector)
            return found[0] if found and found[0].is_displayed() else False

        return self._waiting(seconds).until(seen, f"never seen: {selector}")

    def until(self, condition: Any, what: str) -> None:
        self._waiting().until(lambda _: condition(), what)

    def _waiting(self, seconds: float = 20) -> WebDriverWait:
        # The page may be redrawn between finding an element and using it.
        stale = [StaleElementReferenceException]
        return WebDriverWait(self.driver, seconds, ignored_exceptions=stale)

    def _unchanged(self, use: Callable[[], Any]) -> Any:
        """Use an element that is found anew whenever the page was redrawn in between."""
        used: list[Any] = []
        self.until(lambda: used.append(use()) or True, "the page is redrawn all the time")
        return used[0]

    def settle(self, seconds: float = 20) -> None:
        """Wait until no request is in progress."""
        busy = "return document.querySelectorAll('.waiting, [aria-busy=true]').length"
        never = "something is still on its way"
        self._waiting(seconds).until(lambda _: not self.run(busy), never)

    def click(self, selector: str) -> None:
        def use() -> None:
            element = self.wait(selector)
            self.run("arguments[0].scrollIntoView({block: 'center'})", element)
            element.click()

        self._unchanged(use)

    def method(self, name: str) -> None:
        """Choose a method, from the list of all where it is not shown at once."""
        chip = f"#explain .shown [data-method={name}]"
        if not self.all(chip):
            self.click("#explain .more-methods")
            chip = f"#all-methods [data-method={name}]"
        self.click(chip)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option, or move a slider."""
        script = (
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
            "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
        )
        self._unchanged(lambda: self.run(script, self.find(selector), value))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def pixels(self, selector: str) -> np.ndarray:
        """The pixels of a canvas, `(H, W, 3)`."""
        found = self.run(
            "const c = document.querySelector(arguments[0]);"
            "const copy = new OffscreenCanvas(c.width, c.height);"
            "const context = copy.getContext('2d', {willReadFrequently: true});"
            "context.drawImage(c, 0, 0);"
            "const d = context.getImageData(0, 0, c.width, c.height);"
            "return [c.width, c.height, Array.from(d.data)]",
            selector,
        )
        width, height, data = found
        return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]

    def fetched(self, path: str) -> bytes:
        """The response that the page itself gets for an address."""
        script = (
            "const done = arguments[arguments.length - 1];"
            "fetch(arguments[0]).then(r => r.arrayBuffer())"
            ".then(b => done(Array.from(new Uint8Array(b))))"
        )
        return bytes(self.driver.execute_async_script(script, path))

    def downloaded(self, suffix: str) -> Path:
        """Wait for a finished download."""
        self.until(lambda: list(self.downloads.glob(f"*{suffix}")), f"no {suffix} came")
        return next(self.downloads.glob(f"*{suffix}"))

    def requests(self) -> list[tuple[str, str]]:
        """All requests of the page so far, with their methods."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                request = message["params"]["request"]
                self._requests.append((request["method"], request["url"]))
        return list(self._requests)

    def barriers(self) -> list[Any]:
        """What axe-core finds serious or worse: how bad, which rule, and the elements."""
        found = self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe_core()})
        assert "exceptionDetails" not in found, found
        violations = self.driver.execute_async_script(AXE)
        return [one for one in violations if one[0] in ("serious", "critical")]

    def complaints(self) -> list[str]:
        """Errors and warnings in the browser console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
