"""Sites made from records that no run has made."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from made_records import Json, make

from lra.leaderboard import literature, site
from lra.leaderboard.board import make_board
from lra.leaderboard.sheet import sheets
from lra.leaderboard.view import Point, Scaling, View

SOURCE = "from lra.models.attention import Variant\n\n# 1 < 2 & 'quoted'\n"
EVIL = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"


def view(records: Iterable[Json], left_out: Sequence[str] = (), scalings: Sequence[Scaling] = ()) -> View:
    board = make_board(records)
    shown = [record for table in board.tables for row in table.rows for record in row.records]
    return View(
        board, tuple(sheets(board)), literature.sheets(), (*scalings, *literature.scalings()), tuple(shown),
        tuple(left_out),
    )  # fmt: skip


def write(made: View, folder: Path) -> Path:
    """The site of a view in a folder; its first page."""
    for name, text in site.pages(made).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "index.html"


def curve(seeds: int, steps: int = 600, lines: int = 12) -> list[Json]:
    """A loss that falls, an accuracy that rises, best at the last step."""
    found = []
    for step in (round(steps * (place + 1) / lines) for place in range(lines)):
        for split, gap in (("train", 0.0), ("validation", 0.1)):
            loss = [2.3 * math.exp(-step / steps) + gap + 0.02 * seed for seed in range(seeds)]
            accuracy = [0.5 * step / steps - 0.1 * gap + 0.001 * seed for seed in range(seeds)]
            found.append({"step": step, "split": split, "loss": loss, "accuracy": accuracy})
    return found


def run(variant: str, accuracies: Sequence[float], speed: float, megabytes: int, **changes: Json) -> Json:
    changes = {
        "measured__steps_per_second": speed, "measured__memory_bytes": {"step": megabytes * 10**6},
        "curve": curve(len(accuracies)), **changes,
    }  # fmt: skip
    return make(variant, dict(enumerate(accuracies)), **changes)


def records() -> list[Json]:
    """Two tasks of one protocol, with a row of every kind."""
    listops = [
        run("transformer", [0.36, 0.37, 0.365], 8, 900),
        run("local", [0.31, 0.33, 0.35], 16, 400),
        run("performer", [0.39, 0.41, 0.40], 14, 300),
        run("linformer", [0.38, 0.37, 0.39], 15, 280),
        run("bigbird", [0.40, 0.38], 9, 500),
        run("s5", [0.125, 0.13, 0.12], 20, 250),
        run("mega", [0.44, 0.45, 0.46], 5, 700, selection="last step"),
        run("own", [0.42, 0.43, 0.44], 11, 450, variant__source=SOURCE, variant__source_sha256=sha256(SOURCE)),
        make("synthesizer", {0: None, 1: None, 2: None}),
    ]
    image = [
        run(name, values, 30, 200, task__name="synthetic_image", task__floor__test=0.1,
            protocol__overrides=[f"{name}.note = 'it\\'s'"] if name == "local" else [])
        for name, values in (("transformer", [0.8, 0.81, 0.82]), ("local", [0.7, 0.72, 0.71]))
    ]  # fmt: skip
    return listops + image


def sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


SCALING = Scaling(
    "bench-variants", "Training steps by length", "Measured by hand.",
    tuple(
        Point(model, length, None if model == "transformer" and length == 4096 else rate / length, 0.1 * length * cost)
        for model, rate, cost in (("transformer", 4e3, 3.0), ("local", 9e3, 1.0), ("performer", 8e3, 1.1))
        for length in (1024, 2048, 4096)
    ),
)  # fmt: skip
