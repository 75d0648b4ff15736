"""HTML and SVG by construction: what is not markup already is escaped, wherever it comes from."""

import html
import re
from collections.abc import Iterable

VOID = ("meta", "link", "input", "br", "col")
# XML has no place for them, and HTML no use
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def text(value: str) -> Markup:
    """Any text as text."""
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
    """An element; of an attribute's name a last underscore is dropped and others become hyphens.

    None and False leave an attribute out, True leaves it without a value.
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
    """Short, and without the last bits, which differ from machine to machine."""
    return f"{value:.10g}"
