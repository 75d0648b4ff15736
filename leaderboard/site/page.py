"""What all pages share: head, theme, header, footer."""

from importlib.resources import files

from lra.leaderboard.site.markup import Child, Markup, element, join

# nothing from elsewhere, and no script in a record's text can run
POLICY = "; ".join((
    "default-src 'none'", "img-src data:", "style-src 'self' file:", "script-src 'self' file:", "base-uri 'none'",
    "form-action 'none'",
))  # fmt: skip


def asset(name: str) -> str:
    return files("lra.leaderboard.site").joinpath(name).read_text()


def page(title: str, home: str, header: Child, main: Child) -> str:
    """A whole page.

    Args:
      home: the way to the site's first folder: "" or "../".
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=f"{home}style.css"),
        element("script", src=f"{home}script.js", defer=True),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        element(
            "header",
            header,
            element("button", "Light or dark", type="button", class_="theme", hidden=True),
        ),
        element("main", main, id="main", tabindex="-1"),
        element("footer", element("p", "Made by ", element("code", "lra leaderboard build"), " from records alone.")),
    )
    return "<!doctype html>\n" + join(element("html", head, body, lang="en")) + "\n"


def definitions(items: list[tuple[str, Child]]) -> Markup:
    """Names and what they stand for."""
    return element("dl", [[element("dt", name), element("dd", value)] for name, value in items])
