"""Sites made from records that no run has made."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from made_records import TRACKS, Json, make
from msgspec import structs

from lra.leaderboard import literature, site
from lra.leaderboard.benchmark import DIRECTIONS, Benchmark, Measurement
from lra.leaderboard.board import make_board
from lra.leaderboard.sheet import sheets
from lra.leaderboard.view import View

SOURCE = "from lra.models.attention import Variant\n\n# 1 < 2 & 'quoted'\n"
NAMES = (
    "transformer", "transformer (plain)", "bigbird", "cosformer", "dilated", "fnet", "hgrn2", "linear", "linformer",
    "local", "longformer", "lru", "luna", "mamba2", "mega", "nystromformer", "performer", "reformer", "retention", "s5",
    "sinkhorn", "sparse_transformer", "synthesizer", "tnl", "transnormer",
)  # fmt: skip
LENGTHS = (1024, 2048, 3072, 4096, 8192, 16384, 32768)


def measured(direction: str, place: int, name: str, length: int) -> Measurement:
    """A row of a benchmark. Two of the three quadratic variants end, one for memory and one for time."""
    plain, quadratic = name.endswith("(plain)"), name in ("transformer", "transformer (plain)", "mega")
    batch, micros = max(4096 // length, 1), 20.0 + 1.5 * place + (0.01 * length if quadratic else 0)
    end = None if length < 16384 or name == "transformer" or not quadratic else "memory" if plain else "time"
    row = Measurement(
        name, length, direction, batch, cost="L^2 d" if quadratic else "L d", memory="L^2" if plain else "L",  # type: ignore[arg-type]
        end=end, error="out of memory: 34 GB of 22 GB" if plain and end else end and "a step would take about 40 s",  # type: ignore[arg-type]
    )  # fmt: skip
    if end:
        return row
    return structs.replace(
        row, steps_per_second=1e6 / (micros * batch * length), spread=0.02, speed=(20 + 0.01 * length) / micros,
        speed_spread=0.03, megabytes=1e-3 * batch * length * (10 + place % 9 + (length / 50 if plain else 0)),
        compile_seconds=2.0,
    )  # fmt: skip


BENCHMARK = Benchmark(
    "bench-variants", {"device": "cpu", "cpu": "by hand", "cores": 2, "jax": "0"}, {"model": "A model."},
    tuple(
        measured(direction, place, name, length)
        for direction in DIRECTIONS
        for place, name in enumerate(NAMES)
        for length in LENGTHS
        if length <= 16384 or name not in ("mega", "transformer (plain)")
    ),
)  # fmt: skip


def view(records: Iterable[Json], left_out: Sequence[str] = (), benchmarks: Sequence[Benchmark] = ()) -> View:
    records = sorted(records, key=lambda record: record.run)
    board = make_board(records, TRACKS)
    return View(
        board, tuple(sheets(board)), literature.sheets(), literature.scalings(), tuple(records), tuple(left_out),
        tuple(benchmarks),
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
