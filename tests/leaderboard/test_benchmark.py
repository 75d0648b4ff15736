"""A file of `lra bench variants`: what is read from it, and what its tables say."""

import json

import pytest

from lra.errors import UserError
from lra.leaderboard import benchmark_sheet, text
from lra.leaderboard.benchmark import Benchmark, Measurement, find, read


def row(variant, length, seconds=None, megabytes=None, speed=None, end=None, batch=1, spread=0.0):
    rate = None if seconds is None else 1 / seconds
    return Measurement(
        variant, length, "training", batch, rate, spread, speed, spread, megabytes, cost="L^2 d", memory="L", end=end,
        error=end and "why",
    )  # fmt: skip


def made(*rows) -> Benchmark:
    return Benchmark("bench-variants", {"device": "TPU <v9>", "jax": "0"}, {"model": "A model."}, rows)


def grown(*rows) -> dict[str, dict[str, str]]:
    """The cells of the table of growth, by variant and column."""
    sheet = benchmark_sheet.sheets(made(*rows))[1]
    names = [column.name for column in sheet.columns]
    return {one.cells[0].text: dict(zip(names, [cell.text for cell in one.cells])) for one in sheet.entries}


BASE = [row("transformer", 1000, 1, 100, 1), row("transformer", 2000, 4, 200, 1), row("transformer", 4000, 16, 400, 1)]


def test_it_says_from_which_length_a_variant_is_faster_and_smaller():
    other = [row("other", 1000, 2, 50, 0.5), row("other", 2000, 4, 100, 1), row("other", 4000, 8, 400, 2)]
    cells = grown(*BASE, *other)["other"]
    assert cells["faster from"] == "2,000"
    assert cells["smaller from"] == "none up to 4,000"
    assert cells["power of time"] == "1.00 ± 0.00"
    assert grown(*BASE)["transformer"]["power of time"] == "2.00 ± 0.00"
    assert grown(*BASE)["transformer"]["faster from"] == ""


def test_a_lead_within_the_spread_is_none():
    other = [row("other", length, 1, 50, 1.2, spread=0.2) for length in (1000, 2000, 4000)]
    assert grown(*BASE, *other)["other"]["faster from"] == "none up to 4,000"
    other = [row("other", length, 1, 50, 1.2, spread=0.1) for length in (1000, 2000, 4000)]
    assert grown(*BASE, *other)["other"]["faster from"] == "1,000 or less"


def test_who_is_alone_beyond_the_end_of_the_other_wins():
    base = [*BASE[:2], row("transformer", 4000, end="memory")]
    other = [row("other", 1000, 2, 300, 0.5), row("other", 2000, 8, 600, 0.5), row("other", 4000, 32, 1200)]
    cells = grown(*base, *other)
    assert cells["other"]["faster from"] == cells["other"]["smaller from"] == "4,000"
    assert cells["transformer"]["end"] == "out of memory at 4,000"
    # that the Transformer takes too long says nothing of its memory
    base = [*BASE[:2], row("transformer", 4000, end="time")]
    cells = grown(*base, *other)["other"]
    assert (cells["faster from"], cells["smaller from"]) == ("4,000", "none up to 2,000")
    ended = [*other[:2], row("other", 4000, end="memory")]
    assert grown(*BASE, *ended)["other"]["smaller from"] == "none up to 4,000"


def test_the_powers_are_those_of_an_example():
    """The batch halves with each doubling of the length, as long as it can."""
    halving = [row("transformer", 1000 << k, 1, 100, 1, batch=8 >> k) for k in range(4)]
    cells = grown(*halving)["transformer"]
    assert (cells["power of time"], cells["power of memory"]) == ("1.00 ± 0.00", "1.00 ± 0.00")


def test_what_was_not_possible_is_neither_faster_nor_slower():
    cells = grown(*BASE, row("other", 1000, end="refused"))["other"]
    assert (cells["faster from"], cells["power of time"], cells["end"]) == ("", "", "not possible at 1,000")


def test_all_forms_have_all_rows():
    whole = made(*BASE, row("other", 1000, end="memory"))
    assert len(benchmark_sheet.rows(whole).entries) == 4
    flat = benchmark_sheet.flat(whole)
    assert [(one["variant"], one["length"], one["end"]) for one in flat] == [
        ("transformer", 1000, None), ("transformer", 2000, None), ("transformer", 4000, None), ("other", 1000, "memory")
    ]  # fmt: skip
    assert flat[0]["time_power"] == pytest.approx(2)
    page = "\n".join(line for sheet in benchmark_sheet.sheets(whole) for line in text.section(sheet))
    assert "TPU \\<v9\\>" in page
    assert "| transformer | 1,000 | 500 | 250 | 100 | 200 | 400 |" in page


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"hardware": {}, "settings": {}, "rows": [{"variant": "a", "length": "long"}]}',
     '{"hardware": {}, "settings": {}, "rows": [{"variant": "a", "length": 1, "direction": "sideways"}]}'],
)  # fmt: skip
def test_another_file_is_refused(content, tmp_path):
    path = tmp_path / "bench-variants.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"bench-variants.json is no file of 'lra bench variants'.*move it away"):
        read(path)


def test_files_of_several_machines_lie_side_by_side(tmp_path):
    content = {"hardware": {}, "settings": {}, "rows": [{"variant": "a", "length": 1, "direction": "inference"}]}
    for name in ("bench-variants.json", "bench-variants.h200.json", "bench-kernels.json", ".bench-variants.json"):
        (tmp_path / name).write_text(json.dumps(content))
    assert [own.name for own in find([tmp_path])] == ["bench-variants", "bench-variants-2"]
