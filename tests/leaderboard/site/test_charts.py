"""Pictures: what they measure, where they may lie, and colours that everybody tells apart."""

import hashlib
import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_records import make
from made_site import BENCHMARK, records, view

from lra.leaderboard import site
from lra.leaderboard.site import figure
from lra.leaderboard.site.names import distinct
from lra.leaderboard.site.scale import around, linear_ticks, log_ticks, shown


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return site.pages(view(records(), benchmarks=[BENCHMARK]))


def rows_of(svg: str) -> dict[str, str]:
    """What a picture shows of each row, by the row's name."""
    return {
        title.partition(":")[0]: group
        for title, group in re.findall(r"<g [^>]*data-row[^>]*><title>(.*?)</title>(.*?)</g>", svg)
    }


def picture(pages: dict[str, str], name: str) -> dict[str, str]:
    return rows_of(pages["index.html"].split(f'id="{name}_title"')[1].split("</svg>")[0])


def attribute(markup: str, name: str) -> float:
    return float(re.search(rf'\s{name}="([^"]*)"', markup)[1])


def test_bars_are_as_long_as_the_accuracy(pages):
    bars = picture(pages, "demo-listops-bars")
    unit = attribute(bars["performer"], "width") / 40.0
    for name, accuracy in (("own", 43.0), ("local", 33.0), ("s5", 12.5), ("transformer", 36.5)):
        assert attribute(bars[name], "width") / unit == pytest.approx(accuracy, abs=0.05)
        assert attribute(bars[name], "x") == attribute(bars["performer"], "x")
    # 0.39, 0.40, 0.41: t(0.975, 2) = 4.3027 times 1 / sqrt(3)
    whisker = re.search(r'<line x1="([\d.]+)" x2="([\d.]+)"', bars["performer"])
    assert (float(whisker[2]) - float(whisker[1])) / unit == pytest.approx(2 * 4.3027 / 3**0.5, abs=0.05)


def test_an_interval_that_leaves_what_is_possible_ends_with_the_axis():
    pages = site.pages(view([make("local", {0: 0.0, 1: 1.0}), make("s5", {0: 0.5})]))
    (whisker,) = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"', picture(pages, "demo-listops-bars")["local"])[:1]
    full = picture(site.pages(view([make("local", {0: 1.0}), make("s5", {0: 0.0})])), "demo-listops-bars")["local"]
    left = attribute(full, "x")
    assert [*map(float, whisker)] == [left, pytest.approx(left + attribute(full, "width"))]


def test_circles_grow_in_area_with_memory_and_lie_by_ratio_of_speed(pages):
    cloud = picture(pages, "demo-listops-speed-0")
    radius = {name: attribute(group, "r") - 3.5 for name, group in cloud.items()}
    assert (radius["transformer"] / radius["s5"]) ** 2 == pytest.approx(900 / 250, rel=0.03)
    assert (radius["transformer"] / radius["bigbird"]) ** 2 == pytest.approx(900 / 500, rel=0.03)
    x = {name: attribute(group, "cx") for name, group in cloud.items()}
    # 8 to 16 as far as 5 to 10 would be
    unit = (x["local"] - x["transformer"]) / 1.0
    assert x["s5"] - x["mega"] == pytest.approx(2 * unit, abs=0.3)
    assert x["performer"] - x["local"] == pytest.approx(unit * -0.19265, abs=0.3)


def test_a_variant_has_one_colour_everywhere(pages):
    hues: dict[str, set[str]] = {}
    for text in pages["index.html"], *[text for name, text in pages.items() if name.startswith("runs/")]:
        for kind, title in re.findall(r'<g class="(hue\d)[^"]*"[^>]*><title>([a-z0-9_]+):', text):
            hues.setdefault(title, set()).add(kind)
    for record in records():
        page = pages[f"runs/{record.run}.html"]
        hues.setdefault(record.variant.name, set()).update(re.findall(r'class="(hue\d)', page))
    assert hues["local"]
    assert {len(kinds) for name, kinds in hues.items() if name != "synthesizer"} == {1}


def test_a_colour_does_not_depend_on_what_else_is_there(pages):
    """Nor on the build and the machine. It is the family's, or by the SHA-256 of another name."""
    few = site.pages(view([record for record in records() if record.variant.name in ("s5", "local")]))
    hue = lambda made, name: re.findall(r'<g class="(hue\d dash\d)', picture_of(made, name))
    assert hue(few, "s5") == hue(pages, "s5")
    hue_of = lambda name: figure.style(name).split()[0]
    assert hue_of("s5") == hue_of("lru") == hue_of("lru (state = 8)") != hue_of("transformer")
    number = int(hashlib.sha256(b"mine").hexdigest(), 16)
    assert figure.style("mine") == f"hue{number % 8} dash{number // 8 % 4}"
    assert len({figure.style(f"variant {place}") for place in range(300)}) == figure.HUES * figure.DASHES


def picture_of(made: dict[str, str], name: str) -> str:
    """The groups of a row in all pictures of the first page."""
    return "".join(re.findall(rf"<g [^>]*data-row[^>]*><title>{name}:.*?</g>", made["index.html"]))


def test_rows_of_one_variant_have_its_hue_and_other_marks():
    options = [{"protocol__overrides": [f"local.radius = {radius}"], "config": f"radius {radius}"} for radius in (1, 2)]
    made = site.pages(view([make("local", {0: 0.5}), *(make("local", {0: 0.5}, **change) for change in options)]))
    bars = made["index.html"].split('id="demo-listops-bars_title"')[1].split("</svg>")[0]
    groups = re.findall(r'<g class="([^"]*)" data-row', bars)
    assert len(groups) == 3
    assert {kind.split()[0] for kind in groups} == {figure.style("local").split()[0]}
    assert sorted(word for kind in groups for word in kind.split() if word.startswith("again")) == ["again1", "again2"]


def test_hardware_is_not_mixed_in_a_picture_of_speed():
    other = {"measured__hardware": {"platform": "gpu", "device": "NVIDIA H100"}}
    made = [make(n, {0: 0.5, 1: 0.6}) for n in ("a", "b")] + [make(n, {0: 0.5}, **other) for n in ("c", "d", "e")]
    index = site.pages(view(made))["index.html"]
    clouds = re.findall(r"speed-\d_title.*?</svg>", index, re.S)
    assert [sorted(rows_of(cloud)) for cloud in clouds] == [["c", "d", "e"], ["a", "b"]]


def test_a_picture_of_speed_has_one_sweep():
    later = {"measured__finished_at": "2026-11-28T10:00:00+00:00"}
    made = [make(n, {0: 0.5}) for n in ("a", "b", "c")] + [make(n, {0: 0.5}, **later) for n in ("d", "e")]
    clouds = re.findall(r"speed-\d_title.*?</svg>", site.pages(view(made))["index.html"], re.S)
    assert [sorted(rows_of(cloud)) for cloud in clouds] == [["a", "b", "c"], ["d", "e"]]


# --- Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 39, 60])
def test_every_dot_has_its_name_or_a_number_that_is_explained(count):
    """Dots that lie close together, and two that lie on each other."""
    long = "a_variant_with_a_name_that_is_rather_long"
    made = [
        make(f"{long}_{place:02}" if place % 3 else f"v{place:02}", {0: (400 + place // 2 * 5) / 1000}, curve=[],
             measured__steps_per_second=20 + place / 50)
        for place in range(count)
    ]  # fmt: skip
    page = site.pages(view(made))["index.html"]
    rows = rows_of(page.split('id="demo-listops-speed-0_title"')[1].split("</svg>")[0])
    assert len(rows) == min(count, 40)
    numbers = []
    for name, group in rows.items():
        texts = re.findall(r"<text[^>]*>(.*?)</text>", group)
        if texts != [name]:
            number, explained = texts
            assert explained == f"{number} {name}"
            numbers.append(int(number))
    assert sorted(numbers) == [*range(1, len(numbers) + 1)]
    assert ("the first 40 of 60 rows" in page) == (count == 60)


def test_what_differs_in_long_names_is_kept():
    labels = [f"conv_mixer (kernel_size = {size}, layers = 12, width = 64)" for size in (3, 5, 17)]
    assert distinct([*labels, "transformer"], 30) == [
        "conv_mixer (kernel_size = 3)", "conv_mixer (kernel_size = 5)", "conv_mixer (kernel_size = 17)", "transformer",
    ]  # fmt: skip
    assert distinct(labels[:2], 18) == ["conv_mixe…ize = 3)", "conv_mixe…ize = 5)"]


@given(st.lists(st.text("ab", max_size=60) | st.from_regex(r"v \(x = [ab]{1,9}, y = [ab]{1,30}\)", fullmatch=True)),
       st.integers(9, 40))  # fmt: skip
def test_names_that_differ_differ_when_they_are_short(labels, most):
    short = distinct(labels, most)
    assert all(len(text) <= most for text in short)
    assert all((a == b) == (x == y) for (a, x), (b, y) in itertools.combinations(zip(labels, short), 2))
    assert all(x == a for a, x in zip(labels, short) if len(a) <= most)


# --- Axes ---------------------------------------------------------------------------------------------------------

numbers = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(st.lists(numbers, min_size=1, max_size=5), st.sampled_from([4, 6]))
@example([-1e12, -999999999999.9999], 6)  # numbers between which there is no other
@example([54.92726980240225, 54.85691624219565], 4)
@example([33.62833246873151, 33.62833175147329], 6)
def test_an_axis_has_room_for_its_values_and_few_ticks(values, about):
    scale = around(values, 0, 100)
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value in values)
    ticks = linear_ticks(scale.low, scale.high, about)
    assert 2 <= len(ticks) <= 8
    assert all(b > a for a, b in itertools.pairwise(ticks))
    assert len({*map(shown, ticks)}) == len(ticks)


@given(st.lists(st.floats(1e-9, 1e15), min_size=1, max_size=5))
def test_a_logarithmic_axis_has_two_labels_that_differ(values):
    scale = around(values, 0, 100, log=True)
    assert all(0 <= scale(value) <= 100 for value in values)
    assert 2 <= len({*map(shown, scale.ticks())}) == len(scale.ticks()) <= 8


@given(st.floats(1e-200, 1e15), st.floats(1.05, 1e30))
def test_a_logarithmic_axis_has_the_numbers_that_people_like(low, ratio):
    ticks = log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 8
    assert all(low * 0.999 <= tick <= low * ratio * 1.001 for tick in ticks)
    if ratio > 20:
        assert all(f"{tick:.0e}"[0] in "125" for tick in ticks)


# --- Colours ------------------------------------------------------------------------------------------------------


def colours() -> dict[str, tuple[str, str]]:
    triples = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", site.pages(view([]))["style.css"])
    return {name: (light, dark) for name, light, dark in triples}


def linear(colour: str) -> list[float]:
    """WCAG 2.2, relative luminance: the channels without gamma."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def contrast(a: str, b: str) -> float:
    low, high = sorted(
        sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear(colour))) for colour in (a, b)
    )
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_contrast_is_aa_in_both_themes(theme):
    colour = {name: pair[theme] for name, pair in colours().items()}
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for name in ("text", "soft", "link", "floor", *(f"hue{place}" for place in range(figure.HUES))):
        for ground in ("page", "panel"):
            assert contrast(colour[name], colour[ground]) >= 4.5, (name, ground)
    for name in ("text", "soft", "link"):
        assert contrast(colour[name], colour["target"]) >= 4.5
    assert contrast(colour["edge"], colour["page"]) >= 3  # borders of what can be used


# Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), severity 1.0, on linear RGB
BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def lab(rgb: list[float]) -> list[float]:
    """CIE L*a*b* of linear sRGB, white D65."""
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = [sum(m * max(c, 0) for m, c in zip(row, rgb)) for row in matrix]
    f = [
        (t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29)
        for t in (v / w for v, w in zip(xyz, (0.95047, 1.0, 1.08883)))
    ]
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("theme", [0, 1])
def test_colours_of_variants_are_told_apart_also_by_the_colour_blind(theme, kind):
    seen = {}
    for name, pair in colours().items():
        if name.startswith("hue"):
            rgb = linear(pair[theme])
            seen[name] = lab([sum(m * c for m, c in zip(row, rgb)) for row in BLINDNESS[kind]])
    assert len(seen) == figure.HUES
    for (a, one), (b, other) in itertools.combinations(seen.items(), 2):
        distance = sum((x - y) ** 2 for x, y in zip(one, other)) ** 0.5
        assert distance > 10, (a, b, distance)  # 2.3 is just noticeable
