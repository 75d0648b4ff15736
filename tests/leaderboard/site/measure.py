"""Times the site of a thousand records, and its answers to clicks, in milliseconds; no test.

PYTHONPATH=tests/leaderboard .venv/bin/python tests/leaderboard/site/measure.py [RECORDS]
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import made_site
from playwright.sync_api import sync_playwright

# a click, and all that the browser does for it until it can paint
TIMED = """([selector, text]) => {
  const act = () => {
    const element = document.querySelector(selector);
    const start = performance.now();
    if (text === null) element.click();
    else { element.value = text; element.dispatchEvent(new Event('input', { bubbles: true })); }
    document.body.getBoundingClientRect();
    return performance.now() - start;
  };
  return [1, 2, 3, 4, 5].map(act);
}"""
ACTIONS = {
    "sort by accuracy": ("thead th:nth-child(2) button", None),
    "sort by name": ("thead th:nth-child(1) button", None),
    "filter for one row": ("input[type=search]", "v0123"),
    "filter for a tenth": ("input[type=search]", "7 5"),
    "no filter": ("input[type=search]", ""),
    "hide or show a column": (".boxes input", None),
}


def main(count: int) -> None:
    records = []
    for place in range(count):
        accuracies = [0.2 + place * 37 % 700 / 1000 + seed / 100 for seed in range(3)]
        name = f"v{place:04}" if place else "transformer"
        curve = made_site.curve(3, 40)
        records.append(made_site.run(name, accuracies, 1 + place * 13 % 97, 100 + place * 7 % 900, curve=curve))
    start = time.perf_counter()
    view = made_site.view(records)
    middle = time.perf_counter()
    pages = made_site.site.pages(view)
    end = time.perf_counter()
    size = sum(map(len, pages.values())) / 1e6
    print(f"{count} records: tables {middle - start:.2f} s, {len(pages)} files of {size:.1f} MB {end - middle:.2f} s")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        index = made_site.write(view, Path(folder))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"file://{index}")
        table = f"#{view.sheets[0].name} "
        for name, (selector, text) in ACTIONS.items():
            times = page.evaluate(TIMED, [table + selector, text])
            print(f"{name}: {', '.join(f'{took:.0f}' for took in times)} ms")
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
