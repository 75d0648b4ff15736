"""What the checks say is so: one defect gives its own finding and no false one, and an honest variant none."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lra.checks import CHECKS, check_variant, run_check
from lra.checks.compare import far
from lra.checks.long import LENGTHS, long_layer
from lra.checks.runner import Subjects
from lra.errors import UsageError
from lra.models.attention import VARIANTS, register_attention

from . import lengths
from .defects import Whole, register, softmax
from .honest import HONEST

pytestmark = pytest.mark.usefixtures("registry")


def test_a_row_of_nan_is_found_by_one_check():
    subjects = Subjects(VARIANTS[register("softmax_of_nothing")])
    compare = ("shape", "all masked", "inputs", "neighbours", "gradients", "randomness", "dropout", "restore")
    results = [run_check(CHECKS[name], subjects) for name in compare]
    assert [result.check for result in results if result.status in ("fails", "not run")] == ["all masked"]


def test_what_breaks_at_length_is_one_finding_and_the_rest_says_that_it_was_not_run():
    name = register("a_decay_that_overflows")
    results = {result.check: result for result in check_variant(name)}
    assert [check for check, result in results.items() if result.status == "fails"] == ["lengths"]
    assert results["lengths"].details[0].startswith(f"at {LENGTHS[0]:,} tokens: ")
    assert {result.details for result in results.values() if result.status == "not run"} == {("'lengths' fails",)}


class Flax(nnx.Module):
    """Flax's own attention, whose heads must divide the width."""

    def __init__(self, shape, *, rngs):
        self.attention = nnx.MultiHeadAttention(
            shape.heads, shape.dim, decode=False, deterministic=False, dropout_rate=shape.dropout, rngs=rngs
        )

    def __call__(self, x, mask):
        return self.attention(x, mask=mask[:, None, None, :])


@pytest.mark.slow
def test_a_mixer_whose_heads_divide_the_width_is_honest():
    register_attention("flax", cost="L^2 d", memory="L^2")(Flax)
    subjects = Subjects(VARIANTS["flax"])
    for name in ("shape", "lengths", "padding content", "order", "gradients", "dropout", "transformations"):
        assert run_check(CHECKS[name], subjects).status == "holds", name


AT_LENGTH = ("lengths", "bfloat16", "padding content", "padding amount", "causality", "reach", "order", "gradients")


@pytest.mark.release
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_variant_has_no_finding_at_length(name):
    target = HONEST[name]
    small = {"block": 4} if "block" in inspect.signature(target).parameters else {}
    register_attention(name, cost="L d", reads_positions=True, small=small)(target)
    subjects = Subjects(VARIANTS[name])
    found = {check: run_check(CHECKS[check], subjects) for check in AT_LENGTH}
    details = {check: result.details for check, result in found.items() if result.status != "holds"}
    assert not details
    assert long_layer(subjects.subject(0)).length == LENGTHS[0]


def test_one_that_costs_more_than_it_says_is_checked_at_a_length_that_fits():
    """It would take gigabytes at the longest length."""
    register_attention("dense", cost="L d", memory="L")(lambda q, k, v, mask: softmax(q, k, v, mask))
    long = long_layer(Subjects(VARIANTS["dense"]).subject(0))
    assert 1000 < long.length < LENGTHS[0]


def test_one_that_names_its_maximum_is_checked_at_a_length_that_it_takes():
    @register_attention("short", cost="L d", memory="L")
    class Short(Whole):
        def __init__(self, shape, *, rngs):
            super().__init__(shape, rngs=rngs)
            if shape.max_length > 3000:
                raise UsageError("short takes at most 3000 tokens")

        def __call__(self, x, mask):
            h = self.into(x)[:, :, None]
            return self.out(lengths.kernelised(h, h, h, mask)[:, :, 0])

    assert long_layer(Subjects(VARIANTS["short"]).subject(0)).length == 2049


def test_an_error_of_the_machine_is_no_finding(monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lra.checks.outputs.tempfile.TemporaryDirectory", full)
    result = run_check(CHECKS["restore"], Subjects(VARIANTS["linear"]))
    assert (result.status, result.details) == ("not run", ("OSError: [Errno 28] No space left on device",))


def test_an_error_outside_the_file_of_a_variant_names_no_line_of_it():
    try:
        np.linalg.inv(np.zeros((2, 2)))
    except np.linalg.LinAlgError as error:
        said = str(VARIANTS["linear"].blame(error))
    assert "outside its file: LinAlgError: Singular matrix" in said
    assert "failed at" not in said


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([1, np.nan], [1, np.nan], None),
        ([1, np.inf], [1, np.inf], None),
        ([1, np.nan], [1, 2], "NaN or infinity in 1 of 1 tokens"),
        ([1, 3], [1, 2], "0.5 times the largest output"),
    ],
)
def test_nan_equals_nan(a, b, says):
    assert far(np.array([[a]], float), np.array([[b]], float), np.array([[True]]), 1e-5) == says


def test_a_rougher_type_shows_in_outputs_gradients_and_losses(monkeypatch):
    """Rounded to quarters, nothing stays with float32."""
    rough = lambda params: jax.tree.map(lambda x: (jnp.round(4 * x) / 4).astype(jnp.bfloat16), params)
    narrow = lambda params, dtype, wide: params if dtype == jnp.float32 else rough(params)
    monkeypatch.setattr("lra.checks.precision.narrowed", narrow)
    monkeypatch.setattr("lra.checks.precision.at_length", lambda s, probe: ())
    details = " ".join(run_check(CHECKS["bfloat16"], Subjects(VARIANTS["local"])).details)
    for words in ("the outputs are", "the gradient of 0.q.kernel is", "after 100 steps of training, the loss is"):
        assert words in details
