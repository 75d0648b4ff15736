"""The leaderboard as a site of plain files. It opens from the disk and loads nothing from elsewhere."""

from lra.leaderboard.board import Table
from lra.leaderboard.site.index_page import index_page
from lra.leaderboard.site.page import asset
from lra.leaderboard.site.run_page import run_page
from lra.leaderboard.view import View

__all__ = ["pages"]


def pages(view: View) -> dict[str, str]:
    """All files of the site, by name. The same view gives the same bytes."""
    return {
        "index.html": index_page(view),
        "style.css": asset("style.css"),
        "script.js": asset("script.js"),
        **{
            f"runs/{name}.html": run_page(record, name, sheet.title, view.board.breaches[name])
            for sheet in view.sheets
            if isinstance(sheet.source, Table)
            for row in sheet.source.rows
            for name, record in zip(row.runs, row.records)
        },
    }
