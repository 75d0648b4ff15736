"""The parts that all charts share: frame, axes, colours."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lra.families import FAMILIES, FAMILY
from lra.files import sha256_text
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.scale import Scale, shown

WIDTH = 400  # units; on a telephone a unit is 0.85 pixels, on a wide screen 1.3
WIDE = 960  # of a chart that takes the whole width of the page
CHARACTER, BOLD = 6.6, 7.3  # width of a letter of a label, in units
HUES, DASHES = 8, 4
HUE_OF = {family: place for place, family in enumerate(FAMILIES)}
MOST = 1e15  # larger numbers are not drawn


def style(name: str) -> str:
    """The CSS classes of a row. They depend on its name alone, so it has one colour in all charts and builds.

    The project's variants have the hue of their family, so that 40 rows can be read; another variant has any of them.
    """
    number = int(sha256_text(name), 16)
    family = FAMILY.get(name.partition(" (")[0])
    hue = number % HUES if family is None else HUE_OF[family]
    return f"hue{hue} dash{number // HUES % DASHES}"


class Drawing(NamedTuple):
    """A chart, to be shown in a page or kept as a file of its own.

    Attributes:
      name: unique in the page; letters, digits and hyphens.
    """

    name: str
    title: str
    description: str
    height: float
    parts: tuple[Child, ...]
    width: float = WIDTH


def figure(
    name: str, title: str, description: str, height: float, *parts: Child, width: float = WIDTH, wide: bool = False
) -> Markup:
    """A chart in a page.

    Args:
      wide: whether it takes the whole width of the page.
    """
    return shown_in_page(Drawing(name, title, description, height, parts, width), wide)


def shown_in_page(drawing: Drawing, wide: bool = False) -> Markup:
    """A figure of the page. A screen reader reads its title and description; the numbers are in the table."""
    name, title = drawing.name, drawing.title
    svg = element(
        "svg",
        element("title", title, id=f"{name}_title"),
        element("desc", drawing.description, id=f"{name}_desc"),
        *drawing.parts,
        viewBox=f"0 0 {drawing.width:g} {drawing.height:g}",
        role="img",
        aria_labelledby=f"{name}_title",
        aria_describedby=f"{name}_desc",
    )
    # the chart scrolls on a narrow screen, by keyboard too
    canvas = element("div", svg, class_="canvas", role="group", tabindex="0", aria_labelledby=f"{name}_title")
    return element("figure", element("figcaption", title), canvas, class_="wide" if wide else None)


def at(x: float) -> float:
    return round(x, 1)


def x_axis(
    scale: Scale, top: float, bottom: float, title: str = "", ticks: Sequence[float] | None = None,
    words: Callable[[float], str] = shown,
) -> Iterable[Markup]:  # fmt: skip
    for tick in ticks or scale.ticks():
        x = at(scale(tick))
        yield element("line", x1=x, x2=x, y1=at(top), y2=at(bottom), class_="grid")
        yield element("text", words(tick), x=x, y=at(bottom + 16), class_="tick middle")
    if title:
        yield element("text", title, x=at((scale.start + scale.end) / 2), y=at(bottom + 34), class_="axis middle")


def y_axis(scale: Scale, left: float, right: float) -> Iterable[Markup]:
    for tick in scale.ticks():
        y = at(scale(tick))
        yield element("line", x1=at(left), x2=at(right), y1=y, y2=y, class_="grid")
        yield element("text", shown(tick), x=at(left - 7), y=at(y + 4), class_="tick end")
