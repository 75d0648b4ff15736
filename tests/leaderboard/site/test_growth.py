"""The pictures of a benchmark: time and memory of 25 variants against the length."""

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_site import BENCHMARK, LENGTHS, NAMES

from lra.leaderboard.benchmark import Benchmark, Course
from lra.leaderboard.site.growth import LINE, apart, growth, in_thousands, spaced
from lra.leaderboard.site.picture import svg
from lra.leaderboard.site.scale import Scale

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def picture() -> ElementTree.Element:
    """The file of the first picture, time of training."""
    return ElementTree.fromstring(svg(growth(BENCHMARK, "training")[0]))


def test_there_is_a_line_for_each_variant_and_the_transformers_are_on_top(picture):
    lines = [group for group in picture.iter(f"{SVG}g") if "line" in group.get("class", "").split()]
    assert sorted(line.find(f"{SVG}text").text for line in lines) == sorted(NAMES)
    assert [line.find(f"{SVG}text").text for line in lines[-2:]] == ["transformer", "transformer (plain)"]
    assert all("base" in line.get("class") for line in lines[-2:])
    assert len(list(lines[0].iter(f"{SVG}circle"))) == len(LENGTHS)


def test_a_line_is_marked_where_it_ends(picture):
    ended = {
        group.find(f"{SVG}text").text: sum(line.get("class") == "ended" for line in group.iter(f"{SVG}line"))
        for group in picture.iter(f"{SVG}g")
        if "line" in group.get("class", "").split()
    }
    # a cross of two strokes for memory, a bar for time
    assert {name: count for name, count in ended.items() if count} == {"transformer (plain)": 2, "mega": 1}
    assert "x out of memory, | too slow beyond" in [text.text for text in picture.iter(f"{SVG}text")]


def test_memory_doubles_with_the_length_where_it_is_quadratic():
    (_, memory) = growth(BENCHMARK, "inference")
    titles = {text.partition(":")[0]: text for text in re.findall("<title>(.*?)</title>", "".join(memory.parts[-1]))}
    assert "31.5 at 1,024" in titles["transformer (plain)"]  # kB a token: 10 + 1, and 1024 / 50
    assert "10 at 1,024, 10 at 2,048" in titles["transformer"]


def test_a_file_needs_no_variables_and_loads_nothing(picture):
    text = svg(growth(BENCHMARK, "training")[0])
    assert "var(" not in text
    assert "light-dark" not in text
    assert set(re.findall("https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}
    style = picture.find(f"{SVG}style").text
    for place in range(8):
        assert f".hue{place} polyline" in style
    assert ".dash3 polyline { stroke-dasharray" in style


def test_one_length_makes_no_line():
    rows = tuple(row for row in BENCHMARK.rows if row.length == 1024)
    assert growth(Benchmark("b", {}, {}, rows), "training") == []


@given(st.lists(st.floats(0, 500), min_size=1, max_size=30), st.floats(0, 200))
def test_labels_are_a_line_apart_and_as_near_as_they_can_be(heights, room):
    wanted = {Course(f"{place:03}", "training", "", "", (), None): height for place, height in enumerate(heights)}
    bottom = LINE * (len(heights) - 1) + room
    places = apart(wanted, 0, bottom)
    order = sorted(wanted, key=lambda course: (wanted[course], course.variant))
    own = [places[course] for course in order]
    assert all(after - before >= LINE - 1e-6 for before, after in itertools.pairwise(own))
    assert own[0] >= -1e-6
    assert own[-1] <= bottom + 1e-6
    if all(wanted[b] - wanted[a] >= LINE for a, b in itertools.pairwise(order)) and max(heights) <= bottom:
        assert own == pytest.approx([wanted[course] for course in order], abs=1e-6)


def test_ticks_have_room_and_powers_of_two_go_first():
    x = Scale(1024, 1 << 20, 0, 200, True)
    assert spaced([1024, 2048, 3072, 4096, 8192, 1 << 18, 1 << 19, 1 << 20], x) == [1024, 4096, 1 << 18, 1 << 20]
    assert [in_thousands(length) for length in (1000, 3072, 1 << 20, 3 << 19)] == ["1,000", "3K", "1M", "1536K"]
