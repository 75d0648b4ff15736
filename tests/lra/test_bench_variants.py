"""`lra bench variants`: what it measures, where it ends, how it goes on, and the forms of its tables."""

import csv
import io
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import bindings, needs, resolved
from PIL import Image

from lra import memory
from lra.bench import frequency, pictures, timing, variants
from lra.bench.programs import Program, TooLarge
from lra.bench.report import Report
from lra.cli import main
from lra.errors import UserError
from lra.leaderboard.benchmark import DIRECTIONS, PLAIN
from lra.leaderboard.site.figure import Drawing
from lra.leaderboard.site.markup import element
from lra.leaderboard.site.picture import svg
from lra.models.attention import register_attention

TINY = ("encoder.layers = 1", "encoder.dim = 8", "encoder.qkv_dim = 8", "encoder.heads = 1", "encoder.mlp_dim = 8",
        "train.batch_size = 2")  # fmt: skip


# --- With real programs


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The results folder of a benchmark of three entries at two lengths, and the options that repeat it."""
    folder = tmp_path_factory.mktemp("results")
    options = ["--variant", "synthesizer", "--lengths", "16,32", "--results", str(folder),
               *bindings(*TINY, "synthesizer.rank = 0")]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "LEAST", 1e-4)
        assert main(["bench", "variants", *options]) == 0
    return folder, options


def test_each_row_has_time_memory_and_compilation(measured):
    folder, _ = measured
    content = json.loads((folder / "bench-variants.json").read_text())
    rows = {(row["variant"], row["length"], row["direction"]): row for row in content["rows"]}
    assert content["hardware"]["jax"] == jax.__version__
    assert content["settings"]["overrides"][-2:] == [TINY[-1], "synthesizer.rank = 0"]
    for name in ("transformer", PLAIN):
        for length in (16, 32):
            for way in DIRECTIONS:
                row = rows[name, length, way]
                assert row["batch"] == 2
                assert row["examples_per_second"] == pytest.approx(2 * row["steps_per_second"])
                assert row["tokens_per_second"] == pytest.approx(length * row["examples_per_second"])
                assert row["compile_seconds"] > 0
                assert row["speed"] == 1 or name == PLAIN
            assert rows[name, length, "training"]["megabytes"] > rows[name, length, "inference"]["megabytes"]
    assert rows[PLAIN, 16, "training"]["kernels"] == ["softmax attention: plain"]
    refused = [row for key, row in rows.items() if key[0] == "synthesizer"]
    assert [row["end"] for row in refused] == ["refused", "refused"], "and 32 is not tried"
    assert "synthesizer.rank" in refused[0]["error"]


def test_a_complete_benchmark_measures_nothing_again(measured, capsys, monkeypatch):
    monkeypatch.setattr(variants, "Program", None)
    folder, options = measured
    before = (folder / "bench-variants.json").read_bytes()
    assert main(["bench", "variants", *options]) == 0
    assert "cores, how it grows" in capsys.readouterr().out
    assert (folder / "bench-variants.json").read_bytes() == before


def test_other_settings_do_not_join_the_file(measured, capsys):
    assert main(["bench", "variants", *measured[1], "--gin", "encoder.dropout = 0.2"]) == 1
    assert "of other settings or versions" in capsys.readouterr().err


def test_the_tables_come_in_all_forms(measured, capsys):
    _, options = measured
    printed = {}
    for form in ("markdown", "csv", "latex"):
        assert main(["bench", "variants", *options, "--format", form]) == 0
        printed[form] = capsys.readouterr().out
    lines = [*csv.DictReader(io.StringIO(printed["csv"]))]
    assert [line["variant"] for line in lines if line["end"]] == ["synthesizer"] * 2
    assert len(lines) == 10
    assert printed["markdown"].count("| transformer (plain) |") == 2 * 2 + 4
    assert printed["latex"].startswith(r"\documentclass")


def test_pictures_are_written_and_without_a_browser_it_says_so(measured, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pictures, "BROWSERS", ())
    assert main(["bench", "variants", *measured[1], "--pictures", str(tmp_path / "drawn")]) == 0
    assert "no PNG: that needs a Chromium" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(
        f"bench-variants-{way}-{what}.svg" for way in DIRECTIONS for what in ("time", "memory")
    )


def test_a_browser_makes_a_sharp_png():
    drawing = Drawing("a", "Title", "What it shows.", 100, (element("rect", width=400, height=100, fill="#ff0000"),))
    path = needs("Chromium", *pictures.BROWSERS)
    with Image.open(io.BytesIO(pictures.png(path, drawing, svg(drawing)))) as image:
        assert image.size == (pictures.SHARPNESS * 400, pictures.SHARPNESS * 130)
        assert image.convert("RGB").getpixel((600, 385)) == (255, 0, 0)
    assert pictures.png("/bin/false", drawing, svg(drawing)) is None


def test_only_variants_have_pictures(capsys, tmp_path):
    assert main(["bench", "kernels", "--pictures", str(tmp_path), "--results", str(tmp_path)]) == 2
    assert "lra bench kernels has no --pictures" in capsys.readouterr().err


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("way", DIRECTIONS)
def test_each_step_is_computed(way):
    """No compiler takes the work out of the loop."""
    calls = []

    @register_attention("counted")
    def counted(q, k, v, mask):
        jax.debug.callback(lambda x: calls.append(x.shape), v)
        return v

    run = Program(resolved("text", "counted", "paper", overrides=(*TINY, "text.max_length = 16")), way).start()
    for count in (1, 3):
        calls.clear()
        jax.block_until_ready(run(count))
        jax.effects_barrier()
        assert len(calls) == count


def test_what_does_not_fit_is_not_built(monkeypatch):
    plan = resolved("text", "transformer", "paper", overrides=(*TINY, "text.max_length = 16"))
    monkeypatch.setattr(memory, "there", lambda device: 16 * plan.parameters - 1)
    monkeypatch.setattr("lra.bench.programs.step_functions", None)
    with pytest.raises(TooLarge, match="out of memory: "):
        Program(plan, "training")


# --- With programs that are planned

SECONDS = {"transformer": 1e-9, "local": 1e-7}  # of a step: times L^2, and times L
THERE = 1e9


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """A function that benchmarks planned programs and returns the rows; and what was compiled and what was run."""
    compiled, ran = [], []

    class Planned:
        def __init__(self, plan, way):
            self.name, self.length, self.way = plan.name, plan.length, way
            compiled.append((self.name, self.length, way))
            self.bytes, self.compile_seconds = 200 * self.length**2 * (10 if way == "training" else 1), 1.0
            if self.bytes > THERE:
                raise TooLarge(self.bytes, THERE)

        def start(self):
            ran.append((self.name, self.length, self.way))
            return self

        def __call__(self, count):
            return np.zeros(())

        @property
        def seconds(self):
            return SECONDS.get(self.name, 1e-7) * self.length ** (2 if self.name == "transformer" else 1)

    def resolve(spec):
        length = int(spec.overrides[-1].split()[-1])
        return SimpleNamespace(name=spec.variant, length=length, train=SimpleNamespace(batch_size=1))

    monkeypatch.setattr(variants, "Program", Planned)
    monkeypatch.setattr(variants, "resolve", resolve)
    monkeypatch.setattr(variants, "repetitions", lambda run: 1)
    monkeypatch.setattr(
        variants, "timed", lambda loops: {name: timing.Timing(loop.run.seconds, 0.0) for name, loop in loops.items()}
    )

    def bench(lengths=None, minutes=None, most=10.0, stop=None):
        monkeypatch.setattr(variants, "MOST", most)
        report = Report(tmp_path / "bench.json", variants.KEYS, minutes, False, {"kernels": "xla"})
        for place, _ in enumerate(variants.bench(["local"], lengths, (), report), 1):
            if place == stop:
                break
        return {(row["variant"], row["length"], row["direction"]): row for row in report.rows.values()}

    return SimpleNamespace(bench=bench, compiled=compiled, ran=ran)


def test_it_goes_on_until_memory_ends(planned):
    rows = planned.bench()
    lengths = lambda way: [length for name, length, own in rows if (name, own) == ("local", way)]
    assert lengths("training") == [1024]  # 200 * 10 * 1024^2 is more than there is
    assert lengths("inference") == [1024, 2048, 3072]
    assert rows["local", 3072, "inference"]["end"] == "memory"
    assert rows["local", 3072, "inference"]["error"] == "out of memory: 1.9 GB of 1.0 GB"
    assert rows["local", 3072, "inference"]["megabytes"] == pytest.approx(1887, abs=1)
    assert ("local", 3072, "inference") in planned.compiled
    assert ("local", 3072, "inference") not in planned.ran, "what does not fit is not run"


def test_a_step_that_would_take_too_long_is_not_compiled(planned):
    rows = planned.bench(lengths=[100, 200, 400], most=3e-5)
    row = rows["transformer", 200, "inference"]  # 4e-5 s by the declared square
    assert (row["end"], "megabytes" in row) == ("time", False)
    assert ("transformer", 200, "inference") not in planned.compiled
    assert ("transformer", 400, "inference") not in rows
    assert rows["local", 200, "inference"]["speed"] is None, "the Transformer has ended"


def test_a_step_that_takes_too_long_is_not_repeated(monkeypatch):
    took = iter([12.0, 11.0])
    monkeypatch.setattr(variants, "seconds", lambda run, count: next(took))
    with pytest.raises(variants.TooSlow, match="a step took 11 s"):
        variants.repetitions(None)
    took = iter([12.0, 2.0])  # a long first step alone says nothing
    assert variants.repetitions(None) == 1


def test_the_time_is_the_median_of_a_step(monkeypatch):
    took = iter([3.0, 9.0, 6.0, 7.5, 4.5])
    monkeypatch.setattr(variants, "seconds", lambda run, count: next(took))
    assert variants.timed({"a": variants.Loop(None, 3)}) == {"a": (2.0, 1.0)}


def test_a_stopped_benchmark_goes_on_beside_the_transformer(planned):
    whole = planned.bench(lengths=[100, 200], stop=2)
    assert list(whole) == [("transformer", 100, "training"), (PLAIN, 100, "training")]
    planned.compiled.clear()
    rows = planned.bench(lengths=[100, 200])
    assert len(rows) == 12
    assert planned.compiled[:2] == [("transformer", 100, "training"), ("local", 100, "training")]
    assert rows["local", 100, "training"]["speed"] == pytest.approx(1e-9 * 100**2 / (1e-7 * 100))
    planned.compiled.clear()
    planned.bench(lengths=[100, 200])
    assert planned.compiled == []


def test_without_time_nothing_begins_and_it_ends(planned):
    assert planned.bench(minutes=0) == {}


# --- The clock of the device


def test_the_frequency_is_read_or_none(monkeypatch):
    found = frequency.clock_mhz()
    assert found is None or 100 < found < 10_000
    monkeypatch.setattr(frequency.settings, "device", lambda: SimpleNamespace(platform="gpu"))
    monkeypatch.setattr(frequency, "NVIDIA", ("echo", "1980"))
    assert frequency.clock_mhz() == 1980
    monkeypatch.setattr(frequency, "NVIDIA", ("there-is-no-such-program",))
    assert frequency.clock_mhz() is None
    monkeypatch.setattr(frequency, "NVIDIA", ("echo", "[N/A]"))
    assert frequency.clock_mhz() is None


def test_a_report_has_settings_only_where_there_are_some(tmp_path):
    Report(tmp_path / "a.json", ("x",), None, False).add({"x": 1})
    assert "settings" not in json.loads((tmp_path / "a.json").read_text())
    with pytest.raises(UserError, match="--again"):
        Report(tmp_path / "a.json", ("x",), None, False, {"tokens": 1})
