"""Train steps of one model here and in PyTorch, which are compared before they are timed."""

import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from lra import settings
from lra.bench import torch_models
from lra.bench.steps import Steps
from lra.bench.timing import in_turns
from lra.errors import UserError
from lra.optimizer import AdamW
from lra.plan import Plan

TOLERANCE = 1e-3  # between the logits of both, as a share of the largest
ROUNDS = 3


def cores() -> int:
    """The cores that this process may use, for each of which XLA has a thread."""
    return len(os.sched_getaffinity(0))


def measured(plan: Plan) -> dict[str, Any]:
    """The row of a plan: threads of both, and seconds of a step."""
    torch.set_num_threads(cores())
    parameters = compared(plan, twin(plan))
    eager, compiled = TorchSteps(plan, twin(plan)), TorchSteps(plan, torch.compile(twin(plan)))
    runs: dict[str, Callable[[int], Any]] = {"seconds": Steps(plan), "eager": eager, "compiled": compiled}
    note = ""
    try:
        compiled(1)
    except Exception as error:  # of the compiler: there is none, or it lacks something that the model needs
        note = f"not compiled: {type(error).__name__}: {error}".splitlines()[0][:60]
        del runs["compiled"]
    times = {name: timing.seconds for name, timing in in_turns(runs, ROUNDS).items()}
    row = {"task": plan.task.name, "variant": plan.variant.name, "parameters": parameters, "compiled": None}
    threads = {"xla": cores(), "torch": torch.get_num_threads()}
    return row | times | {"threads": threads, "torch": torch.__version__, "note": note}


def twin(plan: Plan) -> torch.nn.Module:
    """PyTorch's model with the parameters of the plan's at its first seed."""
    shape = plan.task.vocab_size, plan.source.max_length, plan.task.num_classes
    model = torch_models.Classifier(plan.encoder, plan.variant.name, plan.options, *shape)
    params, _, buffers = nnx.split_state(nnx.state(plan.fresh_model(0)), nnx.Param, nnx.RngState, ...)
    state = nnx.to_flat_state(nnx.merge_state(params, buffers))
    torch_models.load(model, {path: np.asarray(variable.get_value()) for path, variable in state})
    return model


def compared(plan: Plan, model: torch.nn.Module) -> int:
    """The number of parameters, the same in both.

    Raises:
      UserError: the models differ.
    """
    batch = Batch(plan, whole=False)
    ours = plan.fresh_model(0)
    ours.eval()
    with settings.fixed():
        expected = np.asarray(nnx.jit(lambda model, *x: model(*x))(ours, batch.tokens, batch.lengths))
    model.eval()
    with torch.no_grad():
        logits = model(*batch.tensors()[:2]).numpy()
    off = float(np.abs(logits - expected).max() / np.abs(expected).max())
    count = sum(x.numel() for x in model.parameters())
    if not off < TOLERANCE or count != plan.parameters:
        raise UserError(
            f"{plan.task.name}, {plan.variant.name}: PyTorch's model has {count:,} parameters, this project's "
            f"{plan.parameters:,}, and their logits differ by {off:.1g} of the largest: nothing is timed"
        )
    return count


class Batch:
    """Random tokens, of the maximal length or shorter."""

    def __init__(self, plan: Plan, whole: bool):
        rng, size, longest = np.random.default_rng(0), plan.train.batch_size, plan.source.max_length
        self.tokens = rng.integers(1, plan.task.vocab_size, (size, longest))
        self.lengths = np.full(size, longest) if whole else rng.integers(longest // 2, longest, size)
        self.labels = rng.integers(0, plan.task.num_classes, size)

    def tensors(self) -> list[torch.Tensor]:
        return [torch.from_numpy(x) for x in (self.tokens, self.lengths, self.labels)]


class TorchSteps:
    """Train steps in PyTorch: forward, backward and AdamW, whose rate stays at the schedule's first."""

    def __init__(self, plan: Plan, model: Any):
        adamw = plan.train.optimizer
        assert isinstance(adamw, AdamW)
        self.model, (self.tokens, self.lengths, self.labels) = model.train(), Batch(plan, whole=True).tensors()
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=float(adamw.learning_rate(jnp.int32(1))), betas=(adamw.b1, adamw.b2), eps=adamw.eps,
            weight_decay=adamw.weight_decay, fused=True,
        )  # fmt: skip

    def __call__(self, count: int) -> float:
        for _ in range(count):
            loss = torch.nn.functional.cross_entropy(self.model(self.tokens, self.lengths), self.labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.item()
