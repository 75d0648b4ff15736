"""A chart as an SVG file of its own, in the light colours of the site and without anything that needs a browser."""

import re

from lra.leaderboard.site.figure import DASHES, HUES, Drawing
from lra.leaderboard.site.markup import Markup, element
from lra.leaderboard.site.page import asset

TITLE = 30  # units above the chart
COLOUR = re.compile(r"--(\w+): light-dark\((#\w+),")


def svg(drawing: Drawing) -> str:
    """The text of the file."""
    width, height = drawing.width, drawing.height + TITLE
    picture = element(
        "svg",
        element("title", drawing.title),
        element("desc", drawing.description),
        element("style", Markup(style())),
        element("rect", width=width, height=height, fill="#ffffff"),
        element("text", drawing.title, x=12, y=22, class_="heading"),
        element("g", *drawing.parts, transform=f"translate(0 {TITLE})"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=2 * width,
        height=2 * height,
    )
    return f"{picture}\n"


def style() -> str:
    """The rules of style.css for line charts, with the colours written out."""
    sheet = asset("style.css")
    colours = dict(COLOUR.findall(sheet))
    kinds = [(f".hue{place}", colours[f"hue{place}"]) for place in range(HUES)] + [(".base", colours["text"])]
    rules = [
        f"text {{ font: 12px system-ui, sans-serif; fill: {colours['text']}; }}",
        ".heading { font-size: 14px; font-weight: 600; }",
        f".tick, .axis, .note {{ font-size: 11px; fill: {colours['soft']}; }}",
        ".middle { text-anchor: middle; }",
        ".end { text-anchor: end; }",
        f".grid {{ stroke: {colours['line']}; }}",
        "polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round; }",
        f".dot {{ fill: {colours['page']}; stroke-width: 1.5; }}",
        ".leader { stroke-width: 0.75; opacity: 0.45; }",
        ".ended { stroke-width: 2; }",
        ".base polyline { stroke-width: 3; }",
        ".base text { font-weight: 700; }",
    ]
    rules += [f"{kind} polyline, {kind} line, {kind} circle {{ stroke: {hue}; }}" for kind, hue in kinds]
    rules += [f"{kind} text {{ fill: {hue}; }}" for kind, hue in kinds]
    dashes = [re.search(rf"^\.dash{place} .series \{{ (.*?) \}}", sheet, re.MULTILINE) for place in range(DASHES)]
    rules += [f".dash{place} polyline {{ {found[1]} }}" for place, found in enumerate(dashes) if found]
    return "\n" + "\n".join(rules) + "\n"
