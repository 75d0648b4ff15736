"""Sites made from records that no run has made."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from made_records import TRACKS, Json, make

from lra.leaderboard import literature, site
from lra.leaderboard.board import make_board
from lra.leaderboard.sheet import sheets
from lra.leaderboard.view import Point, Scaling, View

SOURCE = "from lra.models.attention import Variant\n\n# 1 < 2 & 'quoted'\n"
SCALING = Scaling(
    "bench-variants", "Training steps by length", "Measured by hand.",
    tuple(
        Point(model, length, None if model == "transformer" and length == 4096 else rate / length, 0.1 * length * cost)
        for model, rate, cost in (("transformer", 4e3, 3.0), ("local", 9e3, 1.0), ("performer", 8e3, 1.1))
        for length in (1024, 2048, 4096)
    ),
)  # fmt: skip


def view(records: Iterable[Json], left_out: Sequence[str] = (), scalings: Sequence[Scaling] = ()) -> View:
    records = sorted(records, key=lambda record: record.run)
    board = make_board(records, TRACKS)
    return View(
        board, tuple(sheets(board)), literature.sheets(), (*scalings, *literature.scalings()), tuple(records),
        tuple(left_out),
    )  # fmt: skip


def write(made: View, folder: Path) -> Path:
    """Writes the site of a view to a folder and returns its first page."""
    for name, text in site.pages(made).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "index.html"


def curve(seeds: int, lines: int = 12) -> list[Json]:
    """A loss that falls and an accuracy that rises, best at step 240."""
    points = []
    for step in (240 * (place + 1) // lines for place in range(lines)):
        for split, gap in (("train", 0.0), ("validation", 0.1)):
            loss = [2.3 * math.exp(-step / 400) + gap + 0.05 * seed for seed in range(seeds)]
            accuracy = [0.5 * (1 - math.exp(-step / 200)) - 0.3 * gap + 0.01 * seed for seed in range(seeds)]
            points.append({"step": step, "split": split, "loss": loss, "accuracy": accuracy})
    return points


def run(variant: str, accuracies: Sequence[float], speed: float, megabytes: int, **changes: Json) -> Json:
    fields: dict[str, Json] = {
        "measured__steps_per_second": speed, "measured__memory_bytes": {"step": megabytes * 10**6},
        "curve": curve(len(accuracies)), **changes,
    }  # fmt: skip
    return make(variant, dict(enumerate(accuracies)), **fields)


def records() -> list[Json]:
    """Two tasks of one protocol, with a row of every kind."""
    image = {"task__name": "synthetic_image", "task__floor__test": 0.1}
    quoted = {"protocol__overrides": ["local.note = 'it\\'s $HOME'", "local.radius = 3"]}
    own = {
        "variant__sources": {"own.py": SOURCE},
        "variant__source_sha256": hashlib.sha256(SOURCE.encode()).hexdigest(),
    }
    return [
        run("transformer", [0.36, 0.37, 0.365], 8, 900),
        run("local", [0.31, 0.33, 0.35], 16, 400),
        run("performer", [0.39, 0.41, 0.40], 14, 300),
        run("linformer", [0.38, 0.37, 0.39], 15, 280),
        run("bigbird", [0.40, 0.38], 9, 500),
        run("s5", [0.125, 0.13, 0.12], 20, 250),
        run("mega", [0.44, 0.45, 0.46], 5, 700, selection="last step"),
        run("own", [0.42, 0.43, 0.44], 11, 450, **own),
        make("synthesizer", {0: None, 1: None, 2: None}),
        run("transformer", [0.8, 0.81, 0.82], 30, 200, **image),
        run("local", [0.7, 0.72, 0.71], 40, 150, **image, **quoted),
        run("performer", [0.75, 0.77, 0.71], 37, 150, **image),
    ]
