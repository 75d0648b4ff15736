"""Times the phases of a run: start, compilation, steps, evaluation, saving, on the demo of each task.

Each run has two new processes. The first compiles all; the second finds it compiled, as every later run does.
"""

import functools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from lra.bench.report import Report
from lra.errors import UsageError
from lra.plan import Plan, resolve
from lra.recipe import recipes_of
from lra.spec import RunSpec
from lra.tasks import TASKS, prepared
from lra.trainer import Trainer
from lra.workers import in_order

VARIANTS = ("transformer", "performer", "s5")
STEPS = 20

KEYS = ("task", "variant")
HEADER = (
    "task", "variant", "start, s", "compilation, s", "again, s", "step, ms", "validation, s", "saving, ms", "writing, s"
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    numbers = (row[name] for name in ("start", "compilation", "again", "step", "validation", "saving", "writing"))
    return [row["task"], row["variant"], *(f"{number:.2g}" if number < 10 else f"{number:.0f}" for number in numbers)]


def bench(report: Report) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them. It prepares the demos.

    Seconds, but of a step, and of what the steps wait for a checkpoint, milliseconds:

    * start: from the birth of the process to the compilation, if the small programs were compiled before;
    * compilation: of the train step and the evaluation, and again: if they were compiled before;
    * step: one of one seed, and validation: of all of the validation split;
    * saving: what the steps wait for it, and writing: what a thread writes meanwhile.
    """
    for task in with_demo():
        for variant in VARIANTS:
            if not report.wants(task=task, variant=variant):
                continue
            plan = plan_of(task, variant)
            prepared.prepare(plan.task, plan.source)
            with tempfile.TemporaryDirectory() as folder:
                phases = functools.partial(phases_of, task, variant)
                twice: list[dict[str, float]] = list(in_order(phases, [folder] * 2, 1, fresh=True))
            compilation, again = (times["compilation"] for times in twice)
            row = {"task": task, "variant": variant} | twice[1] | {"compilation": compilation, "again": again}
            report.add(row)
            yield report.rows[report.key(row)]


def with_demo() -> Iterator[str]:
    """The tasks that have a demo of their own."""
    for name in TASKS:
        try:
            recipes_of(name, None, "demo")
        except UsageError:
            continue
        yield name


def plan_of(task: str, variant: str) -> Plan:
    """A few steps of a demo, without a validation between them."""
    return resolve(RunSpec(task, variant, "demo", overrides=(f"train.steps = {STEPS}", f"train.eval_every = {STEPS}")))


def phases_of(task: str, variant: str, folder: str) -> dict[str, float]:
    """What each phase takes in this process.

    Args:
      folder: has what was compiled, and the run.
    """
    jax.config.update("jax_compilation_cache_dir", str(Path(folder, "compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    plan = plan_of(task, variant)
    data = prepared.load(plan.task, plan.source)
    with tempfile.TemporaryDirectory(dir=folder) as run:
        trainer = Trainer(plan, data, Path(run))
        start = age_of_this_process()
        compiled, _, compilation = trainer.compile()
        trainer.saved = STEPS  # the checkpoint is saved below
        trainer.train_to_the_end(compiled)
        began = time.monotonic()
        trainer.evaluate("validation", trainer.state.params, trainer.state.buffers, "validating")
        validated = time.monotonic()
        trainer.saved = 0
        trainer.save()
        saved = time.monotonic()
        trainer.checkpoints.close()
        written = time.monotonic()
    return {
        "start": start, "compilation": compilation, "step": 1e3 * trainer.seconds / trainer.timed_steps,
        "validation": validated - began, "saving": 1e3 * (saved - validated), "writing": written - saved,
    }  # fmt: skip


def age_of_this_process() -> float:
    """The seconds since this process began."""
    ticks = int(Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
