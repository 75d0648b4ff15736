"""Starts several sweeps at once on the same cells, and counts how often each cell was trained.

LRA_HOME=/tmp/storm .venv/bin/python tests/lra/sweeps/crowd.py --sweeps 8 --seeds 100
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script
from sweeps.storm import SIZES, command, prepare

TRAINED = " to train, "  # what the log of a cell says once each time that its train step is compiled


def crowd(words: list[str], results: Path, count: int) -> tuple[list[int], Counter[int]]:
    """Runs some sweeps at once to their end.

    Returns:
      their exit codes, and how many cells were trained how often.
    """
    quiet = subprocess.DEVNULL
    sweeps = [subprocess.Popen(command(words, results), stdout=quiet, stderr=quiet) for _ in range(count)]
    codes = [one.wait() for one in sweeps]
    logs = (results / "runs").glob("*/log.txt")
    return codes, Counter(path.read_text("utf-8").count(TRAINED) for path in logs)


def main(sweeps: int, seeds: int) -> int:
    cells = ["--tasks", "listops", "--variants", "local", "--protocols", "demo", "--seeds", *map(str, range(seeds))]
    prepare()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        words = [*cells, *(word for line in SIZES for word in ("--gin", line))]
        codes, often = crowd(words, Path(folder), sweeps)
        records = len([*(Path(folder) / "records").iterdir()])
    print(
        f"{sweeps} sweeps, exit codes {codes}: {records} records of {seeds} cells in {time.monotonic() - began:.0f} s"
    )
    print("cells by how often they were trained:", dict(often))
    return int(records != seeds or {*often} != {1} or {*codes} != {0})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=100, help="the number of cells, each of one seed")
    options = parser.parse_args()
    sys.exit(main(options.sweeps, options.seeds))
