"""The parts that all pages share: head, theme, header, footer, tables."""

from importlib.resources import files

from lra.leaderboard.site.markup import Child, Markup, element, join

# nothing is loaded from elsewhere, and no script in the text of a record can run
POLICY = (
    "default-src 'none'; img-src data:; style-src 'self' file:; script-src 'self' file:; base-uri 'none'; "
    "form-action 'none'"
)


def asset(name: str) -> str:
    return files("lra.leaderboard.site").joinpath(name).read_text("utf-8")


def page(title: str, home: str, header: Child, main: Child) -> str:
    """A whole page.

    Args:
      home: the relative path to the top folder of the site: "" or "../".
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=f"{home}style.css"),
        element("script", src=f"{home}script.js"),
    )
    theme = element("button", "Dark theme", type="button", id="theme", class_="button", hidden=True)
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        element("header", element("div", header), theme),
        element("main", main, id="main", tabindex="-1"),
        element("footer", "Made by ", element("code", "lra leaderboard build"), " from records alone."),
    )
    return "<!doctype html>\n" + join(element("html", head, body, lang="en")) + "\n"


def frame(table: Markup, label: str) -> Markup:
    """A table in a frame that scrolls, by keyboard too, if the table is too wide.

    Args:
      label: the id of the element that names the table.
    """
    return element("div", table, class_="frame", role="region", tabindex="0", aria_labelledby=label)


def block(content: str, name: str) -> Markup:
    """Preformatted text in a block that scrolls."""
    # HTML parsers drop the first line break
    return element("pre", Markup("\n"), element("code", content), tabindex="0", role="region", aria_label=name)


def definitions(items: list[tuple[str, Child]]) -> Markup:
    """A list of names with their values."""
    return element("dl", [element("div", element("dt", name), element("dd", value)) for name, value in items])
