"""Comparisons of runs: SciPy's p-values and intervals, a sentence that claims no more, and an exit code."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import LABELS_OF_TEST, changed, make
from scipy import stats

from lra.cli import main
from lra.comparison import Comparison, compare, pairs, row, sentence
from lra.errors import UsageError
from lra.leaderboard.predictions import pack, unpack
from lra.leaderboard.record import write

shares = st.integers(200, 1900).map(lambda right: right / 2000)


def answered(record: Any, seed: int, right: np.ndarray) -> Any:
    """The record with other answers of one seed."""
    share = float(right.mean())
    record = changed(record, f"seeds.{seed}.predictions", pack(np.where(right, LABELS_OF_TEST, LABELS_OF_TEST ^ 1)))
    return changed(record, f"seeds.{seed}.test.accuracy", share)


def right_of(record: Any, seed: int) -> np.ndarray:
    return unpack(record.seeds[seed].predictions, "p") == LABELS_OF_TEST


def compared(a: Any, b: Any) -> Comparison:
    return compare(row([a]), row([b]))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9), st.floats(0.3, 0.9))
def test_with_one_seed_it_is_mcnemars_test(draw, first, second):
    dice = np.random.default_rng(draw)
    a, b = (answered(make("local", {0: 0.5}), 0, dice.random(2000) < share) for share in (first, second))
    only_a, only_b = (right_of(a, 0) & ~right_of(b, 0)).sum(), (right_of(b, 0) & ~right_of(a, 0)).sum()
    comparison = compared(a, b)
    assert comparison.test == "paired"
    assert comparison.p == pytest.approx(stats.binomtest(int(only_b), int(only_a + only_b)).pvalue, rel=1e-6, abs=1e-12)
    assert comparison.difference is not None
    assert comparison.difference.mean == pytest.approx((only_b - only_a) / 2000)
    assert comparison.difference.low is None


@pytest.mark.filterwarnings("ignore:Precision loss")  # SciPy's own
@settings(max_examples=30)
@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=6))
def test_the_interval_is_students_over_the_seeds_that_both_have(both):
    a = make("local", {seed: own for seed, (own, _) in enumerate(both)} | {90: 0.9})
    b = make("linear", {seed: own for seed, (_, own) in enumerate(both)} | {91: 0.1})
    comparison = compared(a, b)
    expected = stats.ttest_rel([own for _, own in both], [own for own, _ in both]).confidence_interval(0.95)
    assert comparison.seeds == f"{len(both)} seeds"
    assert comparison.difference is not None
    assert np.mean([own - other for other, own in both]) == pytest.approx(comparison.difference.mean, abs=1e-12)
    if len({own - other for other, own in both}) > 1:  # SciPy has no interval without variance
        assert [comparison.difference.low, comparison.difference.high] == pytest.approx([*expected], abs=1e-9)
    swapped = compared(b, a)
    assert swapped.p == pytest.approx(comparison.p)
    assert swapped.difference is not None
    assert swapped.difference.mean == pytest.approx(-comparison.difference.mean)
    assert swapped.worse == (comparison.significant and not comparison.worse)


@pytest.mark.filterwarnings("ignore:Precision loss")  # SciPy's own
@settings(max_examples=50)
@given(st.lists(shares, min_size=2, max_size=6), st.lists(shares, min_size=2, max_size=6))
def test_without_predictions_it_is_welchs_test(first, second):
    a, b = (make(accuracy=dict(enumerate(values))) for values in (first, second))
    for place in range(len(first)):  # one side without is enough
        a = changed(a, f"seeds.{place}.predictions", None)
    comparison = compared(a, b)
    assert comparison.test == "Welch"
    assert "Welch's t-test" in sentence(comparison)
    if len(set(first)) + len(set(second)) > 2:  # SciPy divides by the variance
        expected = stats.ttest_ind(second, first, equal_var=False)
        assert comparison.p == pytest.approx(expected.pvalue, rel=1e-6)
        assert comparison.difference is not None
        assert [*comparison.difference[1:]] == pytest.approx([*expected.confidence_interval(0.95)], abs=1e-9)
    else:
        assert comparison.p == pytest.approx(float(first[0] == second[0]), abs=1e-9)


SENTENCES = [
    ({0: 0.5, 1: 0.51, 2: 0.49}, {0: 0.6, 1: 0.61, 2: 0.58}, 0,
     r"^B is better than A by 9\.67 points \(p = \S+, 3 seeds, 2,000 examples\)$"),
    ({0: 0.5, 1: 0.51, 2: 0.49}, {0: 0.4, 1: 0.41, 2: 0.38}, 1, r"B is worse than A by 10\.33 points \(p = "),
    ({0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.5, 1: 0.5, 2: 0.501}, 0, r"no difference can be told \(\+0\.03 points, p = "),
    ({0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.4, 1: 0.52, 2: 0.5}, 1, r"B is worse .*; the interval over seeds contains 0, "),
    ({0: 0.5}, {0: 0.6}, 0, r"B is better .*1 seed, 2,000 examples\); one seed says nothing of others"),
    ({0: 0.5, 1: 0.5}, {2: 0.3, 3: 0.31}, 1, r"B is worse .* Welch's t-test"),  # no seed in common
    ({0: 0.5}, {1: 0.3}, 0, r"no difference can be told .*one seed"),
    ({0: 0.5, 1: 0.5}, {0: None, 1: None}, 1, r"B is worse than A: every seed of B diverged"),
    ({0: None}, {0: 0.5}, 0, r"B is better than A: every seed of A diverged"),
    ({0: None}, {0: None}, 0, r"no difference can be told: no seed has a score"),
    ({0: 0.5, 1: 0.51, 2: 0.5}, {0: 0.6, 1: None, 2: 0.6}, 0, r"2 seeds, .*; 1 of 3 seeds of B diverged"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "code", "says"), SENTENCES, ids=[str(place) for place in range(len(SENTENCES))])
def test_one_sentence_and_an_exit_code(a, b, code, says, tmp_path, capsys):
    paths = [write(make(name, own), tmp_path / name) for name, own in (("local", a), ("linear", b))]
    assert main(["compare", *map(str, paths)]) == code
    said = capsys.readouterr().out.splitlines()
    assert re.search(says, said[-1]), said[-1]
    assert main(["compare", "--json", *map(str, paths)]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["sentence"] == said[-1]
    assert printed["worse"] == bool(code)


def test_the_table_has_what_a_choice_needs(tmp_path, capsys):
    a = write(make("local", {0: 0.5, 1: 0.52}), tmp_path)
    cheaper = {"measured__steps_per_second": 25.0, "measured__memory_bytes": {"step": 500_000}}
    b = write(make("linear", {0: 0.6, 1: 0.62}, parameters=70_000, **cheaper), tmp_path)
    assert main(["compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "B - A" in line).split()
    assert line[3:] == ["+10.00", "10.00", "to", "10.00", "2", "+2,790", "x2.00", "x0.50"]
    assert "different hardware" not in said


def test_speeds_of_another_day_have_no_ratio(tmp_path, capsys):
    later = {"measured__finished_at": "2026-11-24T10:00:00+00:00", "measured__steps_per_second": 25.0}
    a, b = make("local", {0: 0.5, 1: 0.52}), make("local", {0: 0.6, 1: 0.62}, variant__version=2, **later)
    paths = [str(write(record, tmp_path / name)) for name, record in (("a", a), ("b", b))]
    for sides, begin in ((paths, "B - A"), ([str(tmp_path / "a"), str(tmp_path / "b")], "listops")):
        assert main(["compare", *sides]) == 0
        said = capsys.readouterr().out
        assert next(line for line in said.splitlines() if begin in line).split()[-3:] == ["+0", "-", "x1.00"]
        assert "more than an hour apart" in said


def test_speed_and_memory_of_different_hardware_have_no_ratio(tmp_path, capsys):
    tpu = {"measured__hardware": {"platform": "tpu", "device": "v6"}, "measured__steps_per_second": 25.0}
    a, b = make("local", {0: 0.5, 1: 0.52}), make("local", {0: 0.6, 1: 0.62}, variant__version=2, **tpu)
    paths = [str(write(record, tmp_path / name)) for name, record in (("a", a), ("b", b))]
    assert main(["compare", *paths]) == 0
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "B - A" in line).split()
    assert line[3:] == ["+10.00", "10.00", "to", "10.00", "2", "+0", "-", "-"]
    assert "steps/s and MB are of different hardware: NVIDIA H200 and v6" in said
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    said = capsys.readouterr().out
    assert next(line for line in said.splitlines() if "listops" in line).split()[-3:] == ["+0", "-", "-"]
    assert "not compared where A and B ran on different hardware" in said
    assert main(["compare", "--json", *paths]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [cost["hardware"] for side in "ab" for cost in printed[side]["costs"]] == ["NVIDIA H200", "v6"]


OTHER_STEPS = "train.optimizer = @adamw()\ntrain.select = 'best'\ntrain.steps = 500\n"
BY_HAND = {"config": OTHER_STEPS, "protocol__overrides": ["train.steps = 500"]}
APART = [
    ({}, {}, ""),
    ({}, {"config": OTHER_STEPS + "linear.power = 3\nenvironment.xla_flags = 'x'\n"}, "train.steps 240 and 500"),
    ({}, BY_HAND, "train.steps 240 and 500"),
    (BY_HAND, BY_HAND, ""),
    ({}, {"protocol__name": "paper"}, "protocol demo and paper"),
    ({}, {"protocol__name": "paper", "config": OTHER_STEPS + "a.b = 1\nc.d = 2\nencoder.dim = 3\n"},
     "protocol demo and paper; a.b not set and 1; c.d not set and 2; 2 more"),
    ({}, {"config": "import os\n"}, ""),  # of which nothing is known
]  # fmt: skip


@pytest.mark.parametrize(("of_a", "of_b", "says"), APART)
def test_what_differs_besides_the_variants_is_said(of_a, of_b, says, tmp_path, capsys):
    a, b = write(make("local", **of_a), tmp_path / "a"), write(make("linear", **of_b), tmp_path / "b")
    main(["compare", str(a), str(b)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "differ" in line and "no difference" not in line]
    assert lines == ([f"A and B differ in more than the variant: {says}"] if says else [])
    main(["compare", str(a), str(b), "--json"])
    apart = json.loads(capsys.readouterr().out)["settings_apart"]
    assert bool(apart) == bool(says)
    if says == "train.steps 240 and 500":
        assert apart == {"train.steps": ["240", "500"]}


def test_what_the_protocol_gives_a_variant_is_no_difference(tmp_path, capsys):
    """Protocol `paper` gives luna narrower queries on ListOps, so that it has no more parameters."""
    config = "train.optimizer = @adamw()\ntrain.select = 'last'\nencoder.qkv_dim = {}\n"
    a, b, c = (
        write(make(name, protocol__name="paper", config=config.format(width)), tmp_path)
        for name, width in (("transformer", 512), ("luna", 480), ("local", 480))
    )
    main(["compare", str(a), str(b)])
    assert "differ in more" not in capsys.readouterr().out
    main(["compare", str(a), str(c)])
    assert "more than the variant: encoder.qkv_dim 512 and 480" in capsys.readouterr().out


def test_the_sentence_says_why_nothing_is_paired(tmp_path):
    a, b = make("local", {0: 0.5}), make("linear", {1: 0.5})
    assert "with no common seed, one seed of a side says too little; run both with the same --seeds" in sentence(
        compared(a, b)
    )
    without = changed(make("linear", {0: 0.5}), "seeds.0.predictions", None)
    assert "with no common predictions, one seed" in sentence(compared(a, without))
    assert "no common seed, so Welch" in sentence(
        compared(make("local", {0: 0.5, 1: 0.6}), make("fnet", {2: 0.5, 3: 0.6}))
    )


REFUSED = {
    "other task": (lambda: make("local", task__name="image"), "only runs of one task"),
    "other data": (lambda: make("local", task__files=None, task__test_labels=None, task__data_sha256="f" * 64,
                                seeds__0__predictions=None), "different data of listops"),
    "failed": (lambda: make("local", {}, status="failed", error="x"), "B is a run that came to nothing (failed)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_a_wrong_call(name, tmp_path, capsys):
    record, says = REFUSED[name]
    paths = [write(make("local"), tmp_path / "a"), write(record(), tmp_path / "b")]
    assert main(["compare", *map(str, paths)]) == 2
    assert says in capsys.readouterr().err
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert main(["compare", str(broken), str(paths[0])]) == 2
    assert main(["compare", "nowhere", str(paths[0])]) == 2
    assert main(["compare", str(tmp_path), str(paths[0])]) == 2
    assert "compare two runs or two folders" in capsys.readouterr().err


# --- Folders ---------------------------------------------------------------------------------------------------


def folder(path: Path, records: list[Any]) -> str:
    for record in records:
        write(record, path / "records")
    return str(path)


def test_folders_are_compared_where_both_have_a_variant(tmp_path, capsys):
    three = lambda share: {0: share, 1: share + 0.01, 2: share - 0.01}
    first = [make("local", three(0.5)), make("linear", three(0.5)), make("fnet", three(0.5)), make("luna", three(0.5))]
    second = [make("local", three(0.6)), make("linear", three(0.5)), make("fnet", three(0.4)), make("s5", three(0.1))]
    a, b = folder(tmp_path / "a", first), folder(tmp_path / "b", second)
    assert main(["compare", a, b]) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "of 3 pairs, B is better than A in 1 (listops demo local), worse in 1 (listops demo fnet); "
        "p < 0.05 after Holm's correction"
    )
    assert main(["compare", b, a, "--json"]) == 1
    assert [pair["b"]["variant"] for pair in json.loads(capsys.readouterr().out)["pairs"]] == [
        "fnet",
        "linear",
        "local",
    ]
    assert main(["compare", a, a]) == 0


def test_p_values_of_folders_are_corrected(tmp_path):
    """A difference that is significant in one comparison is not in ten."""
    names = ["local", "linear", "fnet", "luna", "s5", "mega", "tnl", "lru", "dilated", "linformer"]
    a = [make(name, {0: 0.5}) for name in names]
    b = [make(name, {0: 0.5 + 0.0035 * (name == "local")}) for name in names]
    alone = compared(a[0], b[0])
    assert 0.005 < alone.p < 0.05
    assert alone.significant
    comparisons = pairs(a, b)
    assert comparisons["listops", "demo", "local"].p == pytest.approx(10 * alone.p)
    assert not any(comparison.significant for comparison in comparisons.values())


def test_seeds_of_several_records_count_together(tmp_path):
    a = [make("local", {0: 0.5, 1: 0.5}), make("local", {2: 0.5})]
    b = [make("local", {2: 0.6}, config="x.y = 2\n"), make("local", {0: 0.6}, config="x.y = 2\n")]
    ((key, comparison),) = pairs(a, b).items()
    assert key == ("listops", "demo", "local")
    assert comparison.seeds == "2 seeds"
    assert not comparison.worse


def test_a_folder_with_two_of_a_kind_is_refused(tmp_path, capsys):
    two = [make("local", {0: 0.5}), make("local", {1: 0.5}, variant__version=2)]
    with pytest.raises(UsageError, match="A has two kinds of local on listops"):
        pairs(two, two[:1])
    assert main(["compare", folder(tmp_path / "a", two[:1]), folder(tmp_path / "b", [make("luna")])]) == 2
    assert "in common" in capsys.readouterr().err
    (tmp_path / "a" / "records" / "x.json").write_text("{")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "x.json" in capsys.readouterr().err
