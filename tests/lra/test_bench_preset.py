"""The contract of `lra bench preset`: what it measures never changes."""

import pytest

from lra.bench import preset
from lra.bench.report import Report
from lra.bench.timing import Timing
from lra.cli import main

SENTENCE = (
    "training steps a second of a 2-layer encoder of width 64, 4 heads, batch 4 x 1,024 tokens, float32"  # as printed
)


def test_the_preset_is_what_its_sentence_says():
    plan = preset.plan_of("transformer")
    model, train = plan.encoder, plan.train
    assert (model.layers, model.dim, model.heads, train.batch_size, plan.source.max_length) == (2, 64, 4, 4, 1024)
    assert (model.qkv_dim, model.mlp_dim, model.dropout, model.attention_dropout) == (64, 128, 0.1, 0.1)
    assert (model.pool, model.positions, str(plan.dtype)) == ("cls", "sinusoidal", "float32")
    assert (plan.task.name, plan.task.vocab_size, type(train.optimizer).__name__) == ("text", 257, "AdamW")
    assert SENTENCE in preset.__doc__
    assert (preset.METRIC, preset.UNIT) == ("training_steps_per_second", "1/s")


def test_the_models_of_the_preset_stay_the_same():
    attention, mlp, norms = 4 * 64 * 64, 2 * 64 * 128 + 128 + 64, 2 * 2 * 64
    head = 64 * 128 + 128 + 128 * 2 + 2
    transformer = 257 * 64 + 64 + 2 * (attention + mlp + norms) + 2 * 64 + head
    of = lambda name: preset.plan_of(name).parameters
    assert of("transformer") == of("local") == transformer
    assert of("linformer") == transformer + 2 * 16 * 1025, "LRA's 16 projections of all tokens, in each layer"


def test_a_row_has_the_metric_and_nothing_else(tmp_path, monkeypatch):
    variants = {"local": preset.VARIANTS["local"]}
    monkeypatch.setattr(preset, "VARIANTS", variants)
    monkeypatch.setattr(preset, "Program", lambda *_: type("Made", (), {"start": lambda _: None})())
    monkeypatch.setattr(preset, "timed", lambda runs: {name: Timing(0.25, 0.025) for name in runs})
    monkeypatch.setattr(preset, "repetitions", lambda _: 1)
    report = Report(tmp_path / "bench-preset.json", preset.KEYS, None, again=False)
    (row,) = preset.bench(report)
    assert row == {"variant": "local", "training_steps_per_second": 4.0, "spread": 0.1}
    assert preset.cells(row) == ["local", "4", "10 %"]


@pytest.mark.parametrize("words", [["--lengths", "512"], ["--gin", "encoder.dim = 32"], ["--variant", "local"]])
def test_nothing_of_the_preset_can_be_chosen(words, capsys):
    assert main(["bench", "preset", *words]) == 2
    assert "lra bench preset chooses what it times" in capsys.readouterr().err
