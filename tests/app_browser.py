"""The page of `examples/app` in a real browser: Chromium, driven by selenium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "examples" / "app" / "app.py"
# seconds; a fit on a busy core is among what is waited for
PATIENCE = 240


def find_browser():
    """Return the paths of Chromium and its driver; skip the test without them."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip(
            "no chromium and chromedriver: apt-get install chromium chromium-driver"
        )
    return browser, driver


@contextmanager
def serve(folder):
    """Yield the address of the page, served on a free port of this computer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }
    options = [f"--server.port={port}", "--server.headless=true"]
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), *options]
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        address = f"http://localhost:{port}"
        for _ in range(600):
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def open_browser(folder):
    """Yield a new browser without a window, which saves downloads in a folder."""
    from selenium import webdriver

    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "window-size=1300,1000",
        f"user-data-dir={folder / 'profile'}",
    ):
        options.add_argument(f"--{switch}")
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(folder)}
    )
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


class Page:
    """What a reader does on the page."""

    def __init__(self, browser, folder):
        self.browser = browser
        self.folder = folder

    def find(self, selector):
        """Return the elements of a CSS selector."""
        return self.browser.find_elements("css selector", selector)

    def wait(self, condition):
        """Return what a condition returns as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            # elements may be replaced while they are read
            with suppress(Exception):
                if found := condition():
                    return found
            time.sleep(0.2)
        raise AssertionError(self.text)

    def settle(self):
        """Wait until the page has done what it was asked to do."""
        done = "[data-testid=stApp][data-test-script-state=notRunning]"
        # on a busy computer the page begins late
        time.sleep(1)
        self.wait(lambda: self.find(done))
        time.sleep(0.5)
        self.wait(lambda: self.find(done))
        # no traceback on the page, whatever was asked
        assert not self.find("[data-testid=stException]"), self.text

    def open(self, address):
        """Open the page."""
        self.browser.get(address)
        self.wait(lambda: self.find("[data-testid=stHeading]"))
        self.settle()

    def click(self, selector, text=""):
        """Click on the element of a CSS selector that has a text."""

        def press():
            for element in self.find(selector):
                if text in element.text:
                    element.click()
                    return True
            return False

        self.wait(press)
        self.settle()

    def upload(self, name, data):
        """Upload a file."""
        # a browser does not notice the same file again
        path = self.folder / f"{len(list(self.folder.iterdir()))}_{name}"
        path.write_bytes(data)
        self.click("[data-testid=stSidebar] button", "CSV file")
        (field,) = self.wait(lambda: self.find("input[type=file]"))
        field.send_keys(str(path))
        self.settle()

    def choose(self, selector, text):
        """Choose an option with a text in a list that an element opens."""
        if not self.find("[role=option]"):
            self.click(f"{selector} input")
        self.click("[role=option]", text)

    def download(self, label, name):
        """Return the text of a file that a button offers."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        self.click("[data-testid=stDownloadButton] button", label)
        self.wait(path.exists)
        return path.read_text(encoding="utf-8")

    @property
    def text(self):
        """The text that the page shows."""
        return self.find("body")[0].text

    @property
    def errors(self):
        """The texts of red boxes."""
        return [element.text for element in self.find("[data-testid=stAlert]")]
