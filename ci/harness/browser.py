"""A browser without a screen: Debian's Chromium, driven by Selenium, which its own driver answers."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .failure import Failure
from .host import Need

SELENIUM = ("selenium", "4.49.0")
CHROMIUM = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"
NEEDS = (
    Need(CHROMIUM, "chromium"),
    Need(DRIVER, "chromium-driver"),
    # Chromium comes without one, and then no text has a width.
    Need("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
)

# Longer than any page here takes, in seconds.
PATIENCE = 60
HEIGHT = 900


class Browser:
    """One window, and what is asked of the page in it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page: Path) -> None:
        """Show a file, and forget what the console said before."""
        self.driver.get_log("browser")
        self.driver.get(page.absolute().as_uri())

    def ask(self, script: str, *arguments: object) -> object:
        """What the body of a function returns on the page."""
        return self.driver.execute_script(script, *arguments)

    def look(self, width: int, scheme: str) -> None:
        """Make the window that wide, and its user one who prefers `light` or `dark`."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        prefers = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": prefers})

    def click(self, selector: str) -> None:
        """Click on the first element of that kind, as a user does: where another lies over it, nothing comes of it."""
        element = self.driver.find_element("css selector", selector)
        self.ask("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def type(self, selector: str, text: str) -> None:
        """Type into the first field of that kind, in place of what is there."""
        field = self.driver.find_element("css selector", selector)
        field.clear()
        field.send_keys(text)
        # `clear` says that it changed something, not that somebody typed.
        self.ask("arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", field)

    def allow(self, *permissions: str) -> None:
        """What pages may do without asking; all else they may not."""
        self.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})

    def clipboard(self) -> str:
        """What was copied last."""
        return self.driver.execute_async_script(
            "const done = arguments[0];"
            "navigator.clipboard.readText().then(done, (error) => done(`not read: ${error}`))"
        )

    def console(self) -> list[str]:
        """What the page complained of since it was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def shot(self, path: Path) -> None:
        """Draw what is in the window."""
        self.driver.save_screenshot(str(path))


@contextmanager
def started(folder: Path, home: Path) -> Iterator[Browser]:
    """A browser; `folder` has Selenium, and what the browser writes goes to `home`."""
    sys.path.insert(0, str(folder))
    # Selenium would look for browsers in the network.
    os.environ["SE_OFFLINE"] = "true"
    webdriver = importlib.import_module("selenium.webdriver")
    service = importlib.import_module("selenium.webdriver.chrome.service").Service(DRIVER)
    errors = importlib.import_module("selenium.common.exceptions")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # Root has no sandbox, and /dev/shm of a container is small.
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={home}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=service)
    except errors.WebDriverException as error:
        raise Failure(f"chromium does not start: {str(error).splitlines()[0]}") from error
    try:
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        yield Browser(driver)
    except errors.WebDriverException as error:
        raise Failure(f"chromium: {str(error).splitlines()[0]}") from error
    finally:
        driver.quit()
