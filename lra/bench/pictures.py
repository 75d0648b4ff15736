"""Draws the charts of `lra bench variants` into files: SVG always, PNG where there is a Chromium to make it."""

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lra.files import write_atomically
from lra.leaderboard.benchmark import DIRECTIONS, Benchmark
from lra.leaderboard.site.figure import Drawing
from lra.leaderboard.site.growth import growth
from lra.leaderboard.site.picture import TITLE, svg

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHARPNESS = 3  # pixels of a unit
BARS = 200  # units of a window, or less, that some browsers keep for themselves
SECONDS = 60  # of a browser


def draw(benchmark: Benchmark, folder: Path) -> Iterator[str]:
    """Writes the charts, and yields a line for each file, or for what there is not.

    Raises:
      UserError: a file cannot be written.
    """
    drawings = [drawing for direction in DIRECTIONS for drawing in growth(benchmark, direction)]
    if not drawings:
        yield "no picture: a line needs two lengths"
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    for drawing in drawings:
        path = folder / f"{drawing.name}.svg"
        text = svg(drawing)
        write_atomically(path, text)
        yield f"picture: {path}"
        if browser:
            made = png(browser, drawing, text)
            if made:
                write_atomically(path.with_suffix(".png"), made)
                yield f"picture: {path.with_suffix('.png')}"
            else:
                yield f"no PNG: {browser} draws none; the SVG says the same"
    if drawings and not browser:
        yield f"no PNG: that needs a Chromium ({' or '.join(BROWSERS)}) on the PATH; the SVG says the same"


def png(browser: str, drawing: Drawing, text: str) -> bytes | None:
    """The drawing as PNG; None if the browser does not do it."""
    width, height = int(drawing.width), int(drawing.height + TITLE + 0.5)
    with tempfile.TemporaryDirectory() as name:
        page, out = Path(name, "page.html"), Path(name, "out.png")
        look = f"body {{ margin: 0 }} svg {{ display: block; width: {width}px; height: auto }}"
        page.write_text(f'<!doctype html><meta charset="utf-8"><style>{look}</style>{text}', "utf-8")
        command = [
            browser, "--headless", "--disable-gpu", "--hide-scrollbars", f"--force-device-scale-factor={SHARPNESS}",
            f"--window-size={width},{height + BARS}", f"--user-data-dir={name}/profile", f"--screenshot={out}",
            # as root Chromium has no sandbox to offer
            *(["--no-sandbox"] if os.geteuid() == 0 else []), page.as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=SECONDS)
            with Image.open(out) as image:
                image.crop((0, 0, SHARPNESS * width, SHARPNESS * height)).save(kept := io.BytesIO(), "PNG")
            return kept.getvalue()
        except (OSError, subprocess.SubprocessError):
            return None
