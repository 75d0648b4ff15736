"""Takes the picture of the docs from a built site; no test.

.venv/bin/python tests/leaderboard/site/screenshot.py FOLDER/index.html docs/leaderboard.png [TABLE]
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(index: str, png: str, table: str = "") -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, color_scheme="light")
        # with a parameter the address names no place in the page, and the browser stays at the top
        page.goto(f"file://{Path(index).resolve()}" + (f"#{table}&filter=" if table else ""))
        page.screenshot(path=png)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
