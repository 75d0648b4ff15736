"""PyTorch's models are this project's, and what is timed beside them."""

import importlib.util
import json

import jax
import numpy as np
import optax
import pytest
from conftest import lra
from flax import nnx

from lra.bench import torch as bench
from lra.bench.report import Report
from lra.errors import UserError
from lra.plan import resolve
from lra.spec import RunSpec

SMALL = ("encoder.dim = 16", "encoder.qkv_dim = 32", "encoder.heads = 2", "encoder.mlp_dim = 24")
SHORT = {"text": (*SMALL, "text.max_length = 20", "encoder.layers = 2"), "image": SMALL}


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_one_line_says_what_to_install(tmp_path):
    done = lra("bench", "torch", "--results", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == "lra: lra bench torch needs PyTorch: pip install torch"


@pytest.fixture(scope="module")
def steps():
    pytest.importorskip("torch")
    from lra.bench import torch_steps

    return torch_steps


def plan_of(task, name):
    return resolve(RunSpec(task, name, "paper", overrides=(*SHORT[task], "train.batch_size = 3")))


@pytest.mark.parametrize("name", ["transformer", "performer", "s5"])
@pytest.mark.parametrize("task", SHORT)
def test_the_logits_and_gradients_agree(steps, task, name):
    plan = plan_of(task, name)
    model = steps.twin(plan)
    assert steps.compared(plan, model) == plan.parameters

    ours, batch = plan.fresh_model(0), steps.Batch(plan, whole=False)
    ours.eval()
    graph, params, rest = nnx.split(ours, nnx.Param, ...)

    def loss(params):
        logits = nnx.merge(graph, params, rest, copy=True)(batch.tokens, batch.lengths)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    expected = jax.jit(jax.grad(loss))(params)["encoder"]["embedding"]["embedding"].get_value()
    steps.torch.nn.functional.cross_entropy(model(*batch.tensors()[:2]), batch.tensors()[2]).backward()
    gradient = model.encoder.embedding.weight.grad
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_another_model_is_not_timed(steps):
    plan = plan_of("text", "transformer")
    model = steps.twin(plan)
    with steps.torch.no_grad():
        model.encoder.blocks[0].mlp.out.weight[0, 0] += 1
    with pytest.raises(UserError, match="nothing is timed"):
        steps.compared(plan, model)


def test_both_ways_are_the_recurrence(steps):
    rng = np.random.default_rng(0)
    log_a = -rng.random(3) + 1j * rng.normal(size=3)
    x = rng.normal(size=(2, 3, 70)) + 1j * rng.normal(size=(2, 3, 70))
    for reverse, h in zip((False, True), steps.torch_models.both_ways(*map(steps.torch.from_numpy, (log_a, x)))):
        state = np.zeros((2, 3), complex)
        for i in range(70)[:: -1 if reverse else 1]:
            state = np.exp(log_a) * state + x[..., i]
            np.testing.assert_allclose(h[..., i], state, rtol=1e-6)


def test_the_table(steps, monkeypatch, tmp_path):
    """A cell without a compiler says so, and has the times of the others."""

    def no_compiler(model):
        def call(*_):
            raise RuntimeError("no g++\nat all")

        model.forward = call
        return model

    monkeypatch.setattr(steps.torch, "compile", no_compiler)
    monkeypatch.setattr(bench, "BATCH", {"text": 2})
    monkeypatch.setattr(bench, "VARIANTS", ("s5",))
    report = Report(tmp_path / "bench-torch.json", bench.KEYS, None, again=False)
    (row,) = bench.bench(report, SHORT["text"])
    assert row["note"] == "not compiled: RuntimeError: no g++"
    assert row["compiled"] is None
    cells = dict(zip(bench.HEADER, bench.cells(row), strict=True))
    assert cells["to compiled"] == ""
    assert float(cells["to eager"]) == pytest.approx(row["eager"] / row["seconds"], abs=0.01)
    assert json.loads((tmp_path / "bench-torch.json").read_text())["rows"] == [row]
    assert not list(bench.bench(report, SHORT["text"])), "what is measured is not measured again"
