"""Kills workers and sweeps at random moments, and compares all records with those of an undisturbed sweep.

    LRA_HOME=/tmp/storm .venv/bin/python tests/lra/sweeps/storm.py --kills 500

Two sweeps share some small cells in one results folder, and are started again when they are killed, until every cell
has its record. Then the records are compared, bit for bit, and the next round begins with an empty folder.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from lra import claims
from lra.leaderboard.store import load
from lra.reproduction import differences

AT_ONCE = 2  # sweeps


def command(words: list[str], results: Path) -> list[str]:
    return [sys.executable, "-m", "lra", "sweep", *words, "--results", str(results)]


def round_of(words: list[str], results: Path, most: int, luck: random.Random, pause: float) -> Counter[str]:
    """Runs cells amid kills until all have a record, a worker and a sweep by turns. Returns how many were killed.

    Args:
      words: the arguments of `lra sweep`.
      most: kills, after which it is left alone.
      pause: the mean seconds between two kills.
    """
    kills: Counter[str] = Counter()
    sweeps: list[subprocess.Popen] = []
    due = time.monotonic() + luck.expovariate(1 / pause)
    while True:
        for one in [one for one in sweeps if one.poll() is not None]:
            sweeps.remove(one)
            if one.returncode == 0:  # each cell has its record
                for other in sweeps:
                    other.wait()
                return kills
        while len(sweeps) < AT_ONCE:
            quiet = subprocess.DEVNULL
            sweeps.append(subprocess.Popen(command(words, results), stdout=quiet, stderr=quiet))
        if time.monotonic() < due or kills.total() >= most:
            time.sleep(0.02)
            continue
        kind = ("workers", "sweeps")[kills.total() % 2]
        holders = [said.process for _, said in claims.look(results).values() if said.state == claims.RUNNING]
        victims = holders if kind == "workers" else [one.pid for one in sweeps]
        due = time.monotonic() + luck.expovariate(1 / pause)
        if victims:  # else no worker has a claim yet
            with contextlib.suppress(ProcessLookupError):
                os.kill(luck.choice(victims), signal.SIGKILL)
                kills[kind] += 1


def problems(calm: Path, stormy: Path) -> list[str]:
    """What differs between the records of two results folders, in words."""
    (before, _), (after, left_out) = load([calm]), load([stormy])
    found = list(left_out)
    if [one.run for one in before] != [one.run for one in after]:
        found.append(f"other runs are recorded: {[one.run for one in after]}")
    found += [line for pair in zip(before, after) for line in differences(*pair)]
    files = len([*(stormy / "records").iterdir()])
    if files != len(before):
        found.append(f"{files} files of records of {len(before)} cells")
    return found


def main(kills: int, words: list[str], pause: float, seed: int) -> int:
    luck, count, rounds, began = random.Random(seed), Counter(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        calm = Path(folder) / "calm"
        subprocess.run(command(words, calm), check=True)
        while count.total() < kills:
            results = Path(folder) / f"{rounds}"
            count += round_of(words, results, kills - count.total(), luck, pause)
            rounds += 1
            if found := problems(calm, results):
                print(f"round {rounds}: " + "; ".join(found))
                return 1
            print(f"{rounds} rounds, {dict(count)} killed, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{count.total()} kills in {rounds} rounds: every cell has one record, the same to the bit")
    return 0


SIZES = (
    "listops.min_length = 4", "listops.max_length = 24", "listops.max_depth = 3", "listops.max_args = 4",
    "listops.train = 203", "listops.validation = 53", "listops.test = 101", "encoder.layers = 1", "encoder.dim = 16",
    "encoder.qkv_dim = 16", "encoder.heads = 2", "encoder.mlp_dim = 16", "cosine.warmup = 2", "train.steps = 40",
    "train.batch_size = 8", "train.log_every = 1", "train.eval_every = 4", "train.eval_batch_size = 32",
    "local.radius = 3",
)  # fmt: skip


def prepare() -> None:
    """Prepares the examples of SIZES."""
    data = [word for line in SIZES if line.startswith("listops") for word in ("--gin", line)]
    subprocess.run([sys.executable, "-m", "lra", "prepare", "listops", "--protocol", "demo", *data], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cells = ["--tasks", "listops", "--variants", "local,fnet", "--protocols", "demo", "--seeds", *map(str, range(6))]
    gin = [word for line in SIZES for word in ("--gin", line)]
    prepare()
    sys.exit(main(options.kills, [*cells, *gin, "--checkpoint-every", "0"], options.pause, options.seed))
