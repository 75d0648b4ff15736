"""Trains one plan on 1, 2, 4 and 8 simulated devices, and prints what came of it as JSON. Run by test_placement.py."""

import json
import sys
import tempfile
import threading
from pathlib import Path

import jax
from conftest import SMALL, resolved

from lra.execution import execute
from lra.interrupt import Interrupted
from lra.progress import MAIN, silent_bar
from lra.recipe import merged
from lra.tasks.prepared import load
from lra.trainer import work_beside_steps


class AtStep(threading.Event):
    """Is set once a bar is at a step."""

    def __init__(self, bar, step):
        super().__init__()
        self.bar, self.step = bar, step

    def is_set(self):
        return self.bar.works[MAIN].done == self.step


def outcome(record):
    hardware = record.measured.hardware
    return {
        "run": record.run,
        "train": [line.loss for line in record.curve if line.split == "train"],
        "validation": [line.loss for line in record.curve if line.split == "validation"],
        "test": [seed.test.loss for seed in record.seeds],
        "mesh": hardware["mesh"],
        "devices": hardware["devices"],
        "type": hardware["compute_type"],
        "earlier": [machine["hardware"]["devices"] for machine in hardware.get("earlier", [])],
        "step": record.measured.memory_bytes["step"],
    }


def main(variant):
    plan = resolved("listops", variant, "demo", (0, 1), merged(SMALL, ["train.steps = 12", "train.microbatch = 4"]))
    data = load(plan.task, plan.source)
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2, 4, 8):
            record = execute(plan, data, Path(folder) / str(count), devices=jax.devices()[:count])
            outcomes[str(count)] = outcome(record)
        for count in (8, 1):  # stopped on eight devices, it goes on with one
            bar = silent_bar("run", plan.train.steps, work_beside_steps(plan, data))
            try:
                stop = AtStep(bar, 4 if count == 8 else -1)
                record = execute(plan, data, Path(folder), bar=bar, stop=stop, devices=jax.devices()[:count])
                outcomes["8, then 1"] = outcome(record)
            except Interrupted:
                continue
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
