"""What compiled programs do, counted from their HLO, and the file that a CI compares."""

import json

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from lra import targets
from lra.bench import compile, hlo, prediction
from lra.bench.report import Report
from lra.bench.variants import entry
from lra.cli import main
from lra.errors import UsageError

F32 = jnp.float32


def shape(*sizes, dtype=F32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def of_cpu(function, *args):
    return targets.compile_for("cpu", function, *args)


def matmul(x, w):
    return x @ w


PROGRAMS = {
    "matmul": (matmul, (shape(64, 32), shape(32, 16))),
    "batched": (lambda x, y: jnp.einsum("bqd,bkd->bqk", x, y), (shape(4, 32, 16), shape(4, 64, 16))),
    "elementwise": (lambda x: jnp.tanh(x) * 2 + 1, (shape(128, 64),)),
    "softmax": (lambda x: jax.nn.softmax(x), (shape(64, 256),)),
    "layers": (lambda x, w: jnp.tanh(jnp.tanh(x @ w) @ w), (shape(64, 64), shape(64, 64))),
    "convolution": (
        lambda x, w: lax.conv_general_dilated(x, w, (2,), [(1, 2)], dimension_numbers=("NWC", "WIO", "NWC")),
        (shape(2, 50, 8), shape(5, 8, 16)),
    ),
    "slices": (lambda x: lax.dynamic_slice(x, (3, 5), (4, 8)) * 2, (shape(512, 512),)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_loops_the_counts_are_those_of_xla(name):
    function, args = PROGRAMS[name]
    compiled = of_cpu(function, *args)
    said = compiled.cost_analysis()
    counted = hlo.cost(compiled.as_text())
    assert counted.operations == pytest.approx(said["flops"] + said.get("transcendentals", 0), rel=0.02)
    assert counted.bytes == pytest.approx(said["bytes accessed"], rel=0.02, abs=16)


def test_the_body_of_a_loop_counts_once_for_each_iteration():
    one = hlo.cost(of_cpu(lambda x, w: jnp.tanh(x @ w), shape(32, 32), shape(32, 32)).as_text())
    loop = lambda x, w: lax.scan(lambda x, w: (jnp.tanh(x @ w), ()), x, w)[0]
    few, many = (hlo.cost(of_cpu(loop, shape(32, 32), shape(n, 32, 32)).as_text()) for n in (3, 17))
    assert many.operations == pytest.approx(17 * one.operations, rel=0.02)
    # an iteration reads a matrix of the stack, and not the stack
    assert many.elements - few.elements <= 14 * (one.elements + 32 * 32 + 8)
    assert many.bytes - few.bytes <= 14 * (one.bytes + 2 * 4 * 32 * 32 + 64)


def test_a_loop_in_a_loop_counts_the_product_of_both():
    inner = lambda x: lax.fori_loop(0, 5, lambda _, x: x @ x, x)
    outer = lambda x: lax.fori_loop(0, 7, lambda _, x: inner(x) + 1.0, x)
    assert hlo.cost(of_cpu(outer, shape(16, 16)).as_text()).operations == pytest.approx(7 * 5 * 2 * 16**3, rel=0.1)


def test_a_loop_whose_length_is_an_argument_counts_once():
    loop = lambda n, x: lax.fori_loop(0, n, lambda _, x: x @ x, x)
    counted = hlo.cost(of_cpu(loop, shape(dtype=jnp.int32), shape(64, 64)).as_text())
    assert counted.operations == pytest.approx(2 * 64**3, rel=0.01)


def test_what_is_written_in_place_counts_by_the_part():
    def filled(x):
        write = lambda i, out: lax.dynamic_update_index_in_dim(out, out[i] * 2 + x, i, 0)
        return lax.fori_loop(0, 100, write, jnp.zeros((100, 64)))

    counted = hlo.cost(of_cpu(filled, shape(64)).as_text())
    assert counted.elements < 4 * 100 * 64, "a hundred rows, and not a hundred arrays of a hundred rows"
    assert counted.bytes < 4 * 4 * 4 * 100 * 64


TPU = """HloModule step

%add.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%body (carry: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %one = s32[]{:T(128)} constant(1)
  %carry = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %next = s32[]{:T(128)S(6)} add(%i, %one)
  %x = f32[8,128]{1,0:T(8,128)} get-tuple-element(%carry), index=1
  %near = f32[8,128]{1,0:T(8,128)S(1)} negate(%x)
  %y = f32[8,128]{1,0:T(8,128)} multiply(%near, %near)
  ROOT %out = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%next, %y)
}

%condition (carry.1: (s32[], f32[8,128])) -> pred[] {
  %ten = s32[]{:T(128)} constant(10)
  %carry.1 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %ten), direction=LT
}

ENTRY %main (p: f32[8,128], w: f32[4,64,128]) -> f32[8,128] {
  %p = f32[8,128]{1,0:T(8,128)} parameter(0)
  %w = f32[4,64,128]{2,1,0:T(8,128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%zero, %p)
  %loop = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  %result = f32[8,128]{1,0:T(8,128)} get-tuple-element(%loop), index=1
  %image = f32[8,128,1]{1,0,2:T(8,128)} bitcast(%result)
  %conv = f32[8,4,64]{2,1,0:T(8,128)S(1)} convolution(%image, %w), window={size=4 pad=3_3 rhs_reversal=1}, \
dim_labels=bf0_0oi->b0f
  %part = ((f32[8,128]{1,0:T(8,128)}), f32[2,128]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%result), \
slice={[0:2], [0:128]}
  %parted = f32[2,128]{1,0:T(8,128)S(1)} slice-done(%part)
  ROOT %copied = f32[8,128]{1,0:T(8,128)} copy(%result)
}
"""


def test_a_tpu_states_no_iterations_and_has_memory_inside():
    counted = hlo.cost(TPU)
    x = 8 * 128
    # ten times a negation, a product and the counters; products with padding do not count
    assert counted.operations == 10 * (2 * x + 2) + 2 * 8 * 4 * 64 * 128
    assert counted.elements == 10 * x + 10 + x  # and the loop's condition
    # what is inside the chip is not moved: x is read to negate it, w and the result for the convolution, two rows of it
    # to bring them inside, and all of it to copy it
    assert counted.bytes == 10 * (4 * 2 * x + 4 + 4 + 4 + 4 + 1) + 4 * (4 * 64 * 128 + x) + 4 * 2 * 128 + 4 * 2 * x


@pytest.mark.compilers
@pytest.mark.parametrize("target", ["v5e", "hopper"])
def test_compilers_of_accelerators_make_as_many_operations_as_the_formula_says(target):
    try:
        targets.device(target)
    except UsageError as error:
        pytest.skip(str(error))
    layers = lambda x, w: lax.scan(lambda x, w: (x @ w, ()), x, w)[0]
    compiled = targets.compile_for(target, layers, shape(256, 512), shape(6, 512, 512))
    assert hlo.cost(compiled.as_text()).operations == pytest.approx(6 * 2 * 256 * 512 * 512, rel=0.02)


ROW = {"target": "cpu", "variant": "local", "length": 256}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file with a row of the real compiler."""
    path = tmp_path_factory.mktemp("compiled") / "bench-compile.json"
    report = Report(path, compile.KEYS, None, again=False, hardware=compile.compilers(()))
    row = compile.compiled("cpu", entry("local"), 256)
    report.add(row)
    return path, row


def test_a_step_is_what_is_compiled(made):
    _, row = made
    plan = compile.plan_at("cpu", 256, "local", ())
    assert plan.train.batch_size * 256 == 4096
    assert row["error"] is None
    # the forward pass has two operations for each parameter that multiplies and each token, the backward pass twice
    dense = 4 * 128 * 128 + 2 * 128 * 512
    assert 3 * 2 * 4096 * dense < row["operations"] < 8 * 2 * 4096 * dense
    assert row["arguments"] > 3 * 4 * plan.parameters, "the parameters and two moments"
    assert row["memory"] > row["arguments"] + 4 * 4096 * 512, "the activations of an MLP"
    assert 4 * row["elements"] < row["bytes"]


def test_the_same_compilers_make_the_same_row(made, capsys):
    path, _ = made
    assert main(["bench", "compile", "--check", str(path)]) == 0
    assert "cpu local 256: the same" in capsys.readouterr().out


def changed(made, tmp_path, change):
    content = json.loads(made[0].read_bytes())
    change(content)
    path = tmp_path / "bench-compile.json"
    path.write_text(json.dumps(content))
    return path


def test_each_row_that_differs_is_named(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compile, "compiled", lambda *_: made[1])

    def change(content):
        (row,) = content["rows"]
        content["rows"] += [row | {"length": 512, "memory": row["memory"] + 1}, row | {"variant": "gone"}]

    path = changed(made, tmp_path, change)
    assert main(["bench", "compile", "--check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "cpu local 256: the same" in out
    assert f"memory {made[1]['memory'] + 1}, now {made[1]['memory']}" in out
    assert "cpu gone 256: there is no such variant any more" in out
    assert "3 rows" in out
    assert "2 differ" in out


def test_other_compilers_and_other_bindings_are_refused(made, tmp_path, capsys):
    path = changed(made, tmp_path, lambda content: content["hardware"].update(jaxlib="0.0.1"))
    assert main(["bench", "compile", "--check", str(path)]) == 1
    assert "not comparable: jaxlib 0.0.1, now" in capsys.readouterr().err
    assert main(["bench", "compile", "--check", str(made[0]), "--gin", "encoder.layers = 2"]) == 1
    assert "bindings" in capsys.readouterr().err
    assert main(["bench", "compile", "--check", str(made[0]), "--lengths", "9"]) == 1
    assert "has no row" in capsys.readouterr().err
    assert main(["bench", "compile", "--check", str(tmp_path)]) == 1
    assert "is no file of 'lra bench compile'" in capsys.readouterr().err


def test_the_hardware_at_hand_does_not_matter(made, monkeypatch):
    monkeypatch.setattr("lra.environment.cpu_name", lambda: "another")
    again = Report(made[0], compile.KEYS, None, again=False, hardware=compile.compilers(()))
    assert not again.wants(**ROW)


@pytest.mark.parametrize("words", [["variants", "--target", "cpu"], ["kernels", "--check", "x"]])
def test_only_compile_has_targets(words, capsys):
    assert main(["bench", *words]) == 2
    assert "'lra bench compile' has" in capsys.readouterr().err


def test_what_does_not_compile_or_fit_is_a_row_with_the_reason(monkeypatch):
    def refuses(*_, **__):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
            "Used 21.04G of 15.75G hbm. Exceeded hbm capacity by 5.29G."
        )

    monkeypatch.setattr(targets, "compile_for", refuses)
    row = compile.compiled("v5e", entry("local"), 64)
    assert row["error"] == "out of memory: 21.04 GB of 15.75 GB"
    assert compile.cells(row)[-1] == row["error"]
    monkeypatch.setattr(targets, "compile_for", lambda *_, **__: None)
    monkeypatch.setattr(compile, "cost", lambda _: {"memory": 151_000_000_000})
    assert compile.compiled("hopper", entry("local"), 64)["error"] == "out of memory: 151 GB of 150 GB"


def test_ranks_that_agree_and_that_do_not():
    seconds = {"a": 3.0, "b": 1.0, "c": 6.0, "d": 2.0, "e": 5.0, "f": 4.0}
    swapped = {3.0: 4.0, 4.0: 3.0}  # two neighbours in rank
    compiled: list[dict] = [
        {
            "variant": name, "length": 8, "error": None, "memory": s**3, "operations": -s, "bytes": 1e9 + s,
            "elements": swapped.get(s, s),
        }
        for name, s in seconds.items()
    ]  # fmt: skip
    compiled.append({"variant": "g", "length": 8, "error": "out of memory"})
    measured = [
        {"variant": name, "length": length, "direction": way, "end": None, "steps_per_second": 1 / s}
        for name, s in {**seconds, "g": 1.0}.items()
        for length, way in ((8, "training"), (9, "training"), (8, "inference"))
    ]
    (row,) = prediction.predictions(compiled, measured)
    spearman = 1 - 6 * (1 + 1) / (6 * (6**2 - 1))  # Spearman's formula without ties
    expected = {"memory": 1.0, "operations": -1.0, "bytes": 1.0, "elements": spearman}
    assert row == pytest.approx({"length": 8, "variants": 6, **expected})
    assert not prediction.predictions(compiled[:3], measured), "three variants say nothing"


def test_the_predictions_are_printed_beside_measured_rows(made, tmp_path, capsys):
    names = ("local", "linear", "fnet", "s5")
    change = lambda content: content["rows"].extend(
        {key: value + place if isinstance(value, int) and key != "length" else value for key, value in made[1].items()}
        | {"variant": name}
        for place, name in enumerate(names)
    )
    changed(made, tmp_path, change)
    measured = [
        {"variant": name, "length": 256, "direction": "training", "end": None, "steps_per_second": 1.0 + place}
        for place, name in enumerate(names)
    ]
    hardware = {"platform": "cpu"}
    (tmp_path / "bench-variants.json").write_text(json.dumps({"hardware": hardware, "rows": measured}))
    assert main(["bench", "compile", "--minutes", "0", "--results", str(tmp_path)]) == 0
    assert "What predicts the time of a step" in capsys.readouterr().out
