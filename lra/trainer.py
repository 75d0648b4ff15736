"""Trains and scores a run and writes its record. A run that was stopped or killed continues at the next call."""

import functools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra import compilation, convolution, environment, feed, forecast, memory, settings
from lra.checkpoint import Checkpoints
from lra.contention import Contention
from lra.errors import UserError
from lra.evaluation import DISPATCH_SECONDS, Evaluator, Scored
from lra.interrupt import Interrupted
from lra.leaderboard.predictions import pack
from lra.leaderboard.record import Score, SeedResult, Status
from lra.metrics import MetricsLog
from lra.model_tree import ModelTree, model_tree
from lra.models.kernels import backends
from lra.order import Order, lengths_of
from lra.placement import SEED, placement_of
from lra.plan import Plan
from lra.progress import Bar, silent_bar
from lra.proof.choice import Choice, always, begin_with
from lra.recording import Outcome, by_level
from lra.tasks.prepared import Prepared
from lra.tasks.task import SPLITS
from lra.tracing import Trace
from lra.train import Best, StepFunctions, TrainState, keep_best, step_functions
from lra.train_config import TrainConfig

COMPILATION, EVALUATION = "compilation", "evaluation"  # kinds of work beside the steps
FORWARD = 1 / 3  # the time of an example without its gradients, as a share of that with them, until it is measured


def work_beside_steps(plan: Plan, data: Prepared) -> dict[str, float]:
    """The work of a run that a bar reports beside its steps: the compilation, and all evaluation in steps."""
    validation, test = (len(data.splits[split]) for split in SPLITS[1:])
    examples = (validations(plan.train, plan.train.steps) + 1) * validation + test
    return {COMPILATION: 1, EVALUATION: in_steps(plan.train, examples)}


def in_steps(train: TrainConfig, examples: int) -> float:
    """The steps that take about as long as the evaluation of some examples."""
    return FORWARD * examples / train.batch_size


def validations(train: TrainConfig, steps: int) -> int:
    """How often the first steps of a run are followed by an evaluation of the validation split."""
    return steps // train.eval_every + (steps == train.steps and steps % train.eval_every > 0)


class Trainer:
    """A run that is being trained; arguments as for `execute`, and `folder`, the folder of the run, and `choice`, which
    decides the implementation of each op in the train step; None for XLA. `require` raises if another process has taken
    the run over, so that its folder may not be written. `share` is called after each checkpoint.
    """

    @settings.fixed()
    def __init__(
        self,
        plan: Plan,
        data: Prepared,
        folder: Path,
        bar: Bar | None = None,
        stop: threading.Event | None = None,
        checkpoint_every: float = float("inf"),
        devices: Sequence[jax.Device] | None = None,
        trace: Path | None = None,
        choice: Choice | None = None,
        require: Callable[[], None] = lambda: None,
        share: Callable[[], None] = lambda: None,
    ):
        compilation.keep()
        self.choice = choice or always("xla", "nothing was asked for", len(plan.seeds))
        self.plan, self.data, self.folder, self.checkpoint_every = plan, data, folder, checkpoint_every
        self.require = require
        self.placement = placement_of(len(plan.seeds), plan.train.at_once, devices)
        self.room = memory.there(self.placement.device)  # before anything is there
        self.bar = bar or silent_bar(plan.variant.name, plan.train.steps, work_beside_steps(plan, data))
        self.stop = stop or threading.Event()
        self.trace = Trace(trace, self.bar.display.say)
        self.functions: StepFunctions = step_functions(plan, self.placement)
        self.feed = self.make_feed()
        scored = {name: data.splits[name] for name in SPLITS[1:] if len(data.splits[name])}
        self.evaluator = Evaluator(self.functions, scored, len(plan.seeds), plan.train.eval_batch_size, self.placement)
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(jnp.array(plan.seeds, jnp.uint32))
        self.keys = self.placement.put(keys, SEED)
        self.checkpoints = Checkpoints(folder / "checkpoint", share)
        self.state: TrainState = self.placement.put(self.functions.init(plan.seeds), SEED)
        self.best = None
        if plan.train.select == "best":
            count = len(plan.seeds)
            # copies, because the first step donates the arrays of the state
            params, buffers = jax.tree.map(jnp.copy, (self.state.params, self.state.buffers))
            best = Best(params, buffers, jnp.full(count, -1.0), jnp.zeros(count, jnp.int32))
            self.best = self.placement.put(best, SEED)
        self.step, self.seconds, self.timed_steps, kept = 0, 0.0, 0, 0
        self.contention = Contention()
        self.validated = 0  # the step of the last validation
        self.machine = {
            "hardware": environment.hardware(self.placement.sizes),
            "versions": environment.versions(),
        }
        self.earlier: list[dict[str, Any]] = []
        if restored := self.checkpoints.restore((self.state, self.best)):
            (self.state, self.best), notes = restored
            self.state, self.best = self.placement.put((self.state, self.best), SEED)
            self.step, kept, self.earlier = notes["step"], notes["metrics_bytes"], notes["earlier"]
            self.validated = notes.get("validated", self.step)  # earlier versions saved it after the validation
            if notes["machine"] == self.machine:
                self.seconds, self.timed_steps = notes["seconds"], notes["timed_steps"]
                self.contention = Contention(**notes.get("contention", {}))
            else:  # the speed is that of the machine that ends the run
                self.earlier.append(notes["machine"] | {"until_step": self.step})
        self.saved = self.step  # the step of the last checkpoint
        self.log = MetricsLog(folder, plan.seeds, kept, self.step)

    def make_feed(self) -> feed.Feed:
        config, train = self.plan.train, self.data.splits["train"]
        order = Order(lengths_of(train), config.batch_size, config.buckets)
        room = feed.room(self.placement)
        return feed.Feed(train, order, self.plan.seeds, config.steps, config.log_every, room, self.placement)

    @settings.fixed()
    def train_and_score(self) -> Outcome:
        """Trains the remaining steps and scores all seeds.

        Raises:
          Interrupted: `stop` was set; a checkpoint was saved.
          UserError: a checkpoint could not be written.
        """
        with closing(self.log), closing(self.checkpoints), closing(self.feed), closing(self.trace):
            compiled, step_bytes, compile_seconds = self.compile()
            begin_with(self.folder, self.choice.uses.values())
            self.train_to_the_end(compiled)
            seeds = self.score()
            status: Status = "ok" if any(seed.status == "ok" for seed in seeds) else "diverged"
            return Outcome(
                status, self.tree(), None, seeds, self.log.lines(), self.timed_steps, self.seconds, compile_seconds,
                step_bytes, kernels=tuple(self.choice.uses.values()), mesh=self.placement.sizes, earlier=self.earlier,
                others=self.contention.share,
            )  # fmt: skip

    def tree(self) -> ModelTree:
        """The model tree of the train state. The record has this one, not the plan's."""
        return model_tree(self.state.params, self.state.buffers, seed_axis=True)

    def compile(self) -> tuple[dict[int, Any], int, float]:
        """The compiled train steps by the size of their batches, their bytes on a device, and the seconds it took.

        Raises:
          UserError: the devices do not have the memory; the message says what would fit.
        """
        self.bar.note("compiling")
        began = time.monotonic()
        lowered = {size: self.lower(self.functions, size) for size in self.feed.sizes}
        name, size = self.plan.variant.name, max(lowered)
        if convolution.is_slow(lowered[size]):
            self.bar.display.say(f"{name}: {convolution.SLOW}")
        compiled = {size: program.compile() for size, program in lowered.items()}
        need = memory.need(compiled[size])
        if need.total > self.room and not self.choice.is_all_xla:
            self.choice = always(
                "xla", f"with the fastest, {memory.words(need.total)} would be taken", self.choice.seeds
            )
            return self.compile()
        self.hold_to_memory(need)
        scoring = self.evaluator.compile(self.state.params, self.state.buffers, need.temporary or None)
        self.bar.display.say(
            f"{name}: {memory.words(need.total)} to train, {memory.words(need.arguments + scoring)} to score, of "
            f"{memory.words(self.room)}"
            + (f"; {self.placement.words(len(settings.devices()))}" if len(settings.devices()) > 1 else "")
        )
        self.bar.advance(1, COMPILATION)
        self.bar.note("")
        return compiled, need.total, time.monotonic() - began

    def lower(self, functions: StepFunctions, size: int) -> jax.stages.Lowered:
        """The train steps of batches that are padded to a size, to be compiled."""
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        run = functools.partial(functions.run, length=size)
        step = jax.jit(run, donate_argnums=0, out_shardings=self.placement.at(SEED))
        piece = self.feed.piece(min(self.step, self.plan.train.steps - 1))
        with backends.deciding(self.choice):
            return step.lower(self.state, self.keys, scalar, scalar, piece.rows, piece.examples)

    def hold_to_memory(self, need: memory.Need) -> None:
        """Raises UserError if the train step takes more memory than there is."""
        # the devices of a CPU share its memory
        room = self.room // (self.placement.mesh.size if self.placement.device.platform == "cpu" else 1)
        if need.total <= room:
            return
        self.bar.note("takes more memory than there is; looking for what fits")

        def need_of(plan: Plan) -> memory.Need:
            return memory.need(self.lower(step_functions(plan, self.placement), max(self.feed.sizes)).compile())

        raise UserError(
            f"{self.plan.variant.name} on {self.plan.task.name} takes {memory.words(need.total)} to train, of "
            f"{memory.words(room)} that are there; nothing was trained; "
            f"{forecast.ways_out(self.plan, need, room, need_of)}"
        )

    def train_to_the_end(self, compiled: dict[int, Any]) -> None:
        config = self.plan.train
        self.bar.skip(self.step)
        self.skip_validations(0, self.validated)
        steps_per_second = 0.0
        saved_at = time.monotonic()
        self.validate()  # an earlier call may have been stopped before it
        while not self.is_trained():
            boundary = min(config.steps, (self.step // config.log_every + 1) * config.log_every)
            boundary = min(boundary, (self.step // config.eval_every + 1) * config.eval_every)
            began = time.monotonic()
            self.contention.begin()
            piece = self.feed.piece(self.step)
            count = min(boundary - self.step, piece.steps, max(1, int(DISPATCH_SECONDS * steps_per_second)))
            self.dispatch(compiled, piece, count)
            elapsed = time.monotonic() - began
            steps_per_second = count / max(elapsed, 1e-6)
            self.step += count
            if not self.trace.is_recording:
                self.timed_steps += count
                self.seconds += elapsed
                self.contention.end()
            if self.step % config.log_every == 0 or self.step == config.steps:
                self.log_training()
            self.bar.advance(count)
            self.validate()
            if self.is_trained() or time.monotonic() - saved_at >= self.checkpoint_every:
                self.save()
                saved_at = time.monotonic()
            self.trace.after_dispatch()
            self.heed()
        self.bar.skip(config.steps - self.step)  # if all seeds diverged
        self.skip_validations(self.validated, config.steps)

    def dispatch(self, compiled: dict[int, Any], piece: feed.Piece, count: int) -> None:
        """Trains the first steps of a piece and waits for them."""
        ends = [*np.flatnonzero(np.diff(piece.sizes[:count])) + 1, count]  # where batches have another size
        with jax.profiler.StepTraceAnnotation("steps", step_num=self.step):
            for first, end in zip([0, *ends], ends):
                span = (jnp.int32(self.step + first), jnp.int32(end - first))
                rows = np.roll(piece.rows, -first, axis=0)
                self.state = compiled[piece.sizes[first]](self.state, self.keys, *span, rows, piece.examples)
            jax.block_until_ready(self.state)

    def is_trained(self) -> bool:
        return self.step == self.plan.train.steps or self.all_diverged()

    def skip_validations(self, first: int, last: int) -> None:
        """Tells the bar that nothing is validated between two steps."""
        count = validations(self.plan.train, last) - validations(self.plan.train, first)
        self.bar.skip(in_steps(self.plan.train, count * len(self.data.splits["validation"])), EVALUATION)

    def heed(self) -> None:
        """Saves a checkpoint and raises Interrupted if `stop` was set."""
        if self.stop.is_set():
            self.save()
            steps = self.plan.train.steps
            raise Interrupted(f"stopped at step {self.step} of {steps}; the same command goes on from there")

    def all_diverged(self) -> bool:
        return bool((np.asarray(self.state.diverged_at) >= 0).all())

    def log_training(self) -> None:
        config = self.plan.train
        steps = (self.step - 1) % config.log_every + 1
        alive = np.asarray(self.state.diverged_at) < 0
        loss = np.where(alive, np.asarray(self.state.loss, np.float64) / steps, np.nan)
        accuracy = np.where(alive, np.asarray(self.state.correct) / (steps * config.batch_size), np.nan)
        rate = float(self.plan.train.optimizer.learning_rate(jnp.int32(self.step - 1)))
        self.log.write(self.step, split="train", loss=loss.tolist(), accuracy=accuracy.tolist(), learning_rate=rate)
        self.bar.note(f"loss {np.nanmean(loss):.3f}" if alive.any() else "diverged")

    def validate(self) -> None:
        """Evaluates the validation split if that is due after the last step."""
        config, split = self.plan.train, "validation"
        due = validations(config, self.step) > validations(config, self.validated)
        if not due or split not in self.evaluator.splits:
            return
        note = self.bar.text
        scored = self.evaluate(split, self.state.params, self.state.buffers, "validating")
        self.bar.note(note)
        dead = np.asarray(self.state.diverged_at) >= 0
        loss, accuracy = (np.where(dead, np.nan, values).tolist() for values in (scored.loss, scored.accuracy))
        self.log.write(self.step, split=split, loss=loss, accuracy=accuracy)
        if self.best is not None:
            accuracy = self.placement.put(np.asarray(scored.accuracy, np.float32), SEED)
            self.best = jax.jit(keep_best)(self.best, self.state, accuracy, jnp.int32(self.step))
        self.validated = self.step

    @functools.partial(jax.profiler.annotate_function, name="evaluation")
    def evaluate(self, split: str, params: Any, buffers: Any, doing: str) -> Scored:
        """The answers of each seed on all examples of a split.

        Args:
          doing: what the evaluation is for, in a word or two.

        Raises:
          Interrupted: `stop` was set; a checkpoint was saved.
        """
        count, done = len(self.data.splits[split]), 0

        def advance(examples: int) -> None:
            nonlocal done
            done += examples
            self.bar.note(f"{doing}: {done:,} of {count:,}")
            self.bar.advance(in_steps(self.plan.train, examples), EVALUATION)

        return self.evaluator(split, params, buffers, self.heed, advance)

    def score(self) -> list[SeedResult]:
        """Validation and test scores of the selected parameters."""
        chosen = self.best or Best(
            self.state.params, self.state.buffers, jnp.zeros(0), jnp.full(len(self.plan.seeds), self.step)
        )
        answers = {
            split: self.evaluate(split, chosen.params, chosen.buffers, f"scoring {split}")
            for split in self.evaluator.splits
        }
        seeds: list[SeedResult] = []
        for index, (seed, diverged_at) in enumerate(zip(self.plan.seeds, np.asarray(self.state.diverged_at).tolist())):
            step = int(chosen.step[index]) if diverged_at < 0 else diverged_at
            result = SeedResult(
                seed=seed, status="diverged", step=step, validation=None, test=None, predictions=None, by_level=None
            )
            if diverged_at < 0 and all(np.isfinite(own.loss[index]) for own in answers.values()):
                scores = {
                    split: Score(loss=own.loss[index], accuracy=own.accuracy[index]) for split, own in answers.items()
                }
                predicted, test = answers["test"].prediction[index], self.evaluator.splits["test"]
                result = SeedResult(
                    seed=seed, status="ok", step=step, validation=scores.get("validation"), test=scores["test"],
                    predictions=pack(predicted), by_level=by_level(self.plan.source, test, predicted),
                )  # fmt: skip
            seeds.append(result)
        return seeds

    @functools.partial(jax.profiler.annotate_function, name="saving")
    def save(self) -> None:
        """Saves a checkpoint if there is none of this step."""
        if self.saved == self.step:
            return
        self.require()
        notes = {
            "step": self.step, "validated": self.validated, "timed_steps": self.timed_steps, "seconds": self.seconds,
            "metrics_bytes": self.log.size(), "machine": self.machine, "earlier": self.earlier,
            "contention": {"total": self.contention.total, "others": self.contention.others},
        }  # fmt: skip
        self.checkpoints.save(self.step, (self.state, self.best), notes, first=self.log.sync)
        self.saved = self.step
