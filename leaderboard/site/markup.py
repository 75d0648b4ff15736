"""Builds HTML and SVG. All text that is not `Markup` is escaped."""

import html
import re
from collections.abc import Iterable

VOID = ("meta", "link", "input", "br", "col")
# characters that XML forbids, and characters that change the direction of text
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def text(value: str) -> Markup:
    """A text with markup characters escaped and control characters replaced."""
    return Markup(html.escape(CONTROLS.sub("\ufffd", value), quote=True))


def join(children: Child) -> str:
    if children is None:
        return ""
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return text(children)
    return "".join(map(join, children))


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element with its children.

    In the name of an attribute, a trailing underscore is dropped and the others become hyphens. None and False leave
    the attribute out; True writes it without a value.
    """
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.removesuffix("_").replace("_", "-")
        written += f" {key}" if value is True else f' {key}="{attribute(value)}"'
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def attribute(value: str | float) -> str:
    return number(value) if isinstance(value, (int, float)) else text(value)


def number(value: float) -> str:
    """A number with ten digits. The last bits depend on the hardware."""
    return f"{value:.10g}"
