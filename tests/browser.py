"""A real Chromium for tests: the machine's own, or where it has none that of a package of the npm registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fasteners
import playwright
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PACKAGES = Path(__file__).parent / "chromium"
"""What is installed, each with its hash. Anew: `npm install --package-lock-only --omit-lockfile-registry-resolved`."""
HOME = Path(sys.prefix, "chromium")
_UNPACK = "await (await import('@sparticuz/chromium')).default.executablePath()"
_FONTS = "<fontconfig><dir>{home}/fonts</dir><cachedir>{home}/fonts/cache</cachedir></fontconfig>"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser with no page open."""
    path, environment = _found()
    with sync_playwright() as driver, driver.chromium.launch(executable_path=path, env=environment) as browser:
        yield browser


def _found() -> tuple[str, dict[str, str | float | bool]]:
    """The browser's path and the environment that it starts in."""
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found, {**os.environ}
    HOME.mkdir(exist_ok=True)
    with fasteners.InterProcessLock(HOME / ".lock"):
        if not (HOME / "fonts.conf").exists():
            _install()
            (HOME / "fonts.conf").write_text(_FONTS.format(home=HOME))
    # It brings the libraries and fonts that a bare machine does not have.
    own = {"LD_LIBRARY_PATH": str(HOME / "al2023" / "lib"), "FONTCONFIG_FILE": str(HOME / "fonts.conf")}
    return str(HOME / "chromium"), {**os.environ, **own}


def _install() -> None:
    npm, environment = shutil.which("npm"), dict(os.environ)
    if npm is None:
        lock, folder = PACKAGES / "npm.txt", HOME / "npm"
        options = ["--require-hashes", "--no-deps", "--target", folder, "-r", lock]
        subprocess.run([sys.executable, "-m", "uv", "pip", "install", *options], check=True)
        npm, environment["PYTHONPATH"] = str(folder / "bin" / "npm"), str(folder)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, HOME)
    subprocess.run([npm, "ci", "--prefix", HOME, "--ignore-scripts"], env=environment, check=True)
    subprocess.run(
        [Path(playwright.__file__).parent / "driver" / "node", "--input-type=module", "--eval", _UNPACK],
        cwd=HOME,
        env=os.environ | {"TMPDIR": str(HOME), "AWS_EXECUTION_ENV": "nodejs24.x"},
        check=True,
    )
