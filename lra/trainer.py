"""Trains and scores a run and writes its record. A run that was stopped or killed continues at the next call."""

import dataclasses
import shutil
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from lra import convolution, environment, feed, settings
from lra.checkpoint import Checkpoints
from lra.errors import UserError
from lra.files import check_writable, locked, write_atomically
from lra.interrupt import Interrupted
from lra.leaderboard import store
from lra.leaderboard.predictions import pack
from lra.leaderboard.record import Record, Score, SeedResult, Status, write
from lra.leaderboard.store import folder_of
from lra.metrics import MetricsLog
from lra.model_tree import ModelTree, model_tree
from lra.models import precision
from lra.plan import Plan
from lra.progress import Bar, silent_bar
from lra.recording import Outcome, PeakMemory, make_record
from lra.spec import FILE
from lra.tasks.prepared import Prepared
from lra.tasks.task import SPLITS, Split
from lra.train import Answers, Best, StepFunctions, TrainState, accuracy_of, batch_rows, keep_best, step_functions
from lra.train_config import TrainConfig

DISPATCH_SECONDS = 1.0  # the target of a dispatch, so that progress is shown and Ctrl-C is heard


def recorded(plan: Plan, data: Prepared, results: Path) -> Record | None:
    """The record of a run in a results folder; None if there is none, or if the run failed."""
    return store.find(results, plan.run_id(data.data_sha256))


def execute(
    plan: Plan,
    data: Prepared,
    results: Path,
    *,
    bar: Bar | None = None,
    stop: threading.Event | None = None,
    checkpoint_every: float = 30.0,
    anew: bool = False,
) -> Record:
    """Trains and scores all seeds of a plan and writes the record. It continues where an earlier call was stopped.

    Args:
      results: the results folder. Spec, checkpoint, metrics.jsonl and TensorBoard files are in `runs/RUN`, the record
        is in `records`.
      bar: is advanced by the steps, and by the kinds of `work_beside_steps`.
      stop: once set, the run saves a checkpoint and ends; also while it evaluates.
      checkpoint_every: the seconds between checkpoints; they do not change the outcome.
      anew: whether to delete the checkpoint of an earlier call.

    Raises:
      Interrupted: `stop` was set.
      UserError: no record could keep the variant's source, the memory or the disk is full, the run failed, another
        process trains the same run, or the settings of this process are not the plan's.
    """
    if plan.environment != (here := settings.from_outside()):
        raise UserError(
            f"the plan was made under {settings.words(plan.environment)}, this process has {settings.words(here)}; "
            "set the same, or make the plan here"
        )
    run = plan.run_id(data.data_sha256)
    folder = results / "runs" / run
    trainer: Trainer | None = None
    settings.require()
    precision.require(plan.dtype, settings.device())
    memory = PeakMemory()
    check_writable(folder_of(results) / f"{run}.json")
    with locked(folder, f"run {run} is being trained"):
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        write_atomically(folder / FILE, plan.spec.to_json())  # says whose checkpoint it is until there is a record
        try:
            trainer = Trainer(plan, data, folder, bar, stop, checkpoint_every)
            outcome = trainer.train_and_score()
        except UserError:
            raise
        except Exception as error:
            status: Status = "out of memory" if "RESOURCE_EXHAUSTED" in str(error) else "failed"
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            tree = trainer.tree() if trainer else plan.tree  # without a trainer no model was built
            assert tree
            if status == "failed" and not plan.variant.line_of(error):
                where = "not recorded, since no line of the variant raised it; --debug shows where it comes from"
            elif recorded(plan, data, results):
                where = "not recorded, since the record of an earlier run would be lost"
            else:
                path = write(make_record(plan, data, Outcome(status, tree, reason)), folder_of(results))
                where = f"recorded in {path}"
            raise UserError(f"{plan.variant.name} on {plan.task.name}: {status} ({reason}); {where}") from error
        record = make_record(plan, data, dataclasses.replace(outcome, peak_bytes=memory.of_this_run()))
        write(record, folder_of(results))
    return record


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


class Scored(NamedTuple):
    """The answers of all seeds on a split, with what they are worth.

    Attributes:
      loss: the mean loss of each seed in nats.
      accuracy: the share of right answers of each seed.
      prediction: the predicted classes.
    """

    loss: list[float]
    accuracy: list[float]
    prediction: Int[np.ndarray, "seeds examples"]


class Trainer:
    """A run that is being trained; arguments as for `execute`, and `folder`, the folder of the run."""

    @settings.fixed()
    def __init__(
        self,
        plan: Plan,
        data: Prepared,
        folder: Path,
        bar: Bar | None = None,
        stop: threading.Event | None = None,
        checkpoint_every: float = float("inf"),
    ):
        self.plan, self.data, self.checkpoint_every = plan, data, checkpoint_every
        self.bar = bar or silent_bar(plan.variant.name, plan.train.steps, work_beside_steps(plan, data))
        self.stop = stop or threading.Event()
        self.functions: StepFunctions = step_functions(plan)
        self.feed = self.make_feed(data.splits["train"])
        self.keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(
            jnp.array(plan.seeds, jnp.uint32)
        )
        self.checkpoints = Checkpoints(folder / "checkpoint")
        self.state: TrainState = self.functions.init(plan.seeds)
        self.best = None
        if plan.train.select == "best":
            count = len(plan.seeds)
            # copies, because the first step donates the arrays of the state
            params, buffers = jax.tree.map(jnp.copy, (self.state.params, self.state.buffers))
            self.best = Best(params, buffers, jnp.full(count, -1.0), jnp.zeros(count, jnp.int32))
        self.step, self.seconds, self.timed_steps, kept = 0, 0.0, 0, 0
        self.validated = 0  # the step of the last validation
        self.machine = {"hardware": environment.hardware(), "versions": environment.versions()}
        self.earlier: list[dict[str, Any]] = []
        if restored := self.checkpoints.restore((self.state, self.best)):
            (self.state, self.best), notes = restored
            self.state, self.best = jax.device_put((self.state, self.best))
            self.step, kept, self.earlier = notes["step"], notes["metrics_bytes"], notes["earlier"]
            self.validated = notes.get("validated", self.step)  # earlier versions saved it after the validation
            if notes["machine"] == self.machine:
                self.seconds, self.timed_steps = notes["seconds"], notes["timed_steps"]
            else:  # the speed is that of the machine that ends the run
                self.earlier.append(notes["machine"] | {"until_step": self.step})
        self.saved = self.step  # the step of the last checkpoint
        self.log = MetricsLog(folder, plan.seeds, kept, self.step)
        self.evaluators: dict[int, Any] = {}  # by the number of examples

    def make_feed(self, train: Split) -> feed.Feed:
        config = self.plan.train

        def rows_of(seed: int, step: int) -> np.ndarray:
            return batch_rows(seed, step, config.batch_size, len(train))

        return feed.Feed(train, rows_of, self.plan.seeds, config.steps, config.log_every, feed.room())

    @settings.fixed()
    def train_and_score(self) -> Outcome:
        """Trains the remaining steps and scores all seeds.

        Raises:
          Interrupted: `stop` was set; a checkpoint was saved.
          UserError: a checkpoint could not be written.
        """
        try:
            compiled, compile_seconds = self.compile()
            self.train_to_the_end(compiled)
            seeds = self.score()
            status: Status = "ok" if any(seed.status == "ok" for seed in seeds) else "diverged"
            memory = compiled.memory_analysis()
            step_bytes = memory.argument_size_in_bytes + memory.temp_size_in_bytes if memory else 0
            return Outcome(
                status, self.tree(), None, seeds, self.log.lines(), self.timed_steps, self.seconds, compile_seconds,
                step_bytes, earlier=self.earlier,
            )  # fmt: skip
        finally:
            self.feed.close()
            self.log.close()
            self.checkpoints.close()

    def tree(self) -> ModelTree:
        """The model tree of the train state. The record has this one, not the plan's."""
        return model_tree(self.state.params, self.state.buffers, seed_axis=True)

    def compile(self) -> tuple[Any, float]:
        """The compiled train steps, and the seconds of the compilation."""
        self.bar.note("compiling")
        began = time.monotonic()
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        step = jax.jit(self.functions.run, donate_argnums=0)
        piece = self.feed.piece(min(self.step, self.plan.train.steps - 1))
        lowered = step.lower(self.state, self.keys, scalar, scalar, piece.rows, piece.examples)
        if convolution.is_slow(lowered):
            self.bar.display.say(f"{self.plan.variant.name}: {convolution.SLOW}")
        compiled = lowered.compile()
        self.bar.advance(1, COMPILATION)
        self.bar.note("")
        return compiled, time.monotonic() - began

    def train_to_the_end(self, compiled: Any) -> None:
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
            piece = self.feed.piece(self.step)
            count = min(boundary - self.step, piece.steps, max(1, int(DISPATCH_SECONDS * steps_per_second)))
            span = (jnp.int32(self.step), jnp.int32(count))
            self.state = compiled(self.state, self.keys, *span, piece.rows, piece.examples)
            jax.block_until_ready(self.state)
            elapsed = time.monotonic() - began
            steps_per_second = count / max(elapsed, 1e-6)
            self.step += count
            self.timed_steps += count
            self.seconds += elapsed
            if self.step % config.log_every == 0 or self.step == config.steps:
                self.log_training()
            self.bar.advance(count)
            self.validate()
            if self.is_trained() or time.monotonic() - saved_at >= self.checkpoint_every:
                self.save()
                saved_at = time.monotonic()
            self.heed()
        self.bar.skip(config.steps - self.step)  # if all seeds diverged
        self.skip_validations(self.validated, config.steps)

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
        if not due or not len(self.data.splits[split]):
            return
        note = self.bar.text
        scored = self.evaluate(split, self.state.params, self.state.buffers, "validating")
        self.bar.note(note)
        dead = np.asarray(self.state.diverged_at) >= 0
        loss, accuracy = (np.where(dead, np.nan, values).tolist() for values in (scored.loss, scored.accuracy))
        self.log.write(self.step, split=split, loss=loss, accuracy=accuracy)
        if self.best is not None:
            self.best = jax.jit(keep_best)(self.best, self.state, jnp.array(scored.accuracy), jnp.int32(self.step))
        self.validated = self.step

    def evaluate(self, split: str, params: Any, buffers: Any, doing: str) -> Scored:
        """The answers of each seed on all examples of a split. The split is evaluated in pieces that fit the device.

        Args:
          doing: what the evaluation is for, in a word or two.

        Raises:
          Interrupted: `stop` was set; a checkpoint was saved.
        """
        examples, config = self.data.splits[split], self.plan.train
        count, batch = len(examples), min(config.eval_batch_size, len(examples))
        piece = min(count, max(1, feed.PIECE * count // feed.size(examples) // batch) * batch)
        losses, predictions = [], []
        for start in range(0, count, piece):
            # the last piece is filled up with the last example, so that all pieces have one shape
            part = feed.gather(examples, np.minimum(np.arange(start, start + piece), count - 1))
            end = min(start + piece, count)
            answers = self.functions.unanswered(piece)
            evaluate = self.evaluator(params, buffers, part, answers)
            batches, batches_per_second = 0, 0.0
            while (place := start + batches * batch) < end:
                self.heed()
                began = time.monotonic()
                many = min(-(-(end - place) // batch), max(1, int(DISPATCH_SECONDS * batches_per_second)))
                answers = evaluate(params, buffers, part, jnp.int32(batches), jnp.int32(many), answers)
                jax.block_until_ready(answers)
                batches_per_second = many / max(time.monotonic() - began, 1e-6)
                batches += many
                done = min(many * batch, end - place)
                self.bar.note(f"{doing}: {place + done:,} of {count:,}")
                self.bar.advance(in_steps(config, done), EVALUATION)
            loss, prediction = (np.asarray(column)[:, : end - start] for column in answers)
            losses.append(loss.astype(np.float64))
            predictions.append(prediction)
        answered = np.concatenate(predictions, 1)
        return Scored(np.concatenate(losses, 1).mean(1).tolist(), accuracy_of(answered, examples.labels), answered)

    def evaluator(self, params: Any, buffers: Any, examples: Split, answers: Answers) -> Any:
        """The compiled evaluation of as many examples as these; arguments as for `StepFunctions.evaluate`."""
        size = len(examples.labels)
        if size not in self.evaluators:
            scalar = jax.ShapeDtypeStruct((), jnp.int32)
            lowered = jax.jit(self.functions.evaluate).lower(params, buffers, examples, scalar, scalar, answers)
            self.evaluators[size] = lowered.compile()
            self.bar.advance(0, COMPILATION)
        return self.evaluators[size]

    def score(self) -> list[SeedResult]:
        """Validation and test scores of the selected parameters."""
        chosen = self.best or Best(
            self.state.params, self.state.buffers, jnp.zeros(0), jnp.full(len(self.plan.seeds), self.step)
        )
        answers = {
            split: self.evaluate(split, chosen.params, chosen.buffers, f"scoring {split}")
            for split in SPLITS[1:]
            if len(self.data.splits[split])
        }
        seeds: list[SeedResult] = []
        for place, (seed, diverged_at) in enumerate(zip(self.plan.seeds, np.asarray(self.state.diverged_at).tolist())):
            step = int(chosen.step[place]) if diverged_at < 0 else diverged_at
            result = SeedResult(seed=seed, status="diverged", step=step, validation=None, test=None, predictions=None)
            if diverged_at < 0 and all(np.isfinite(own.loss[place]) for own in answers.values()):
                scores = {
                    split: Score(loss=own.loss[place], accuracy=own.accuracy[place]) for split, own in answers.items()
                }
                predictions = pack(answers["test"].prediction[place])
                result = SeedResult(
                    seed=seed, status="ok", step=step, validation=scores.get("validation"), test=scores["test"],
                    predictions=predictions,
                )  # fmt: skip
            seeds.append(result)
        return seeds

    def save(self) -> None:
        """Saves a checkpoint if there is none of this step."""
        if self.saved == self.step:
            return
        notes = {
            "step": self.step, "validated": self.validated, "timed_steps": self.timed_steps, "seconds": self.seconds,
            "metrics_bytes": self.log.size(), "machine": self.machine, "earlier": self.earlier,
        }  # fmt: skip
        self.checkpoints.save(self.step, (self.state, self.best), notes)
        self.saved = self.step
