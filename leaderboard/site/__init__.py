"""The leaderboard as a site of plain files, that opens from the disk and takes nothing from elsewhere."""

from lra.leaderboard.site.index_page import index_page
from lra.leaderboard.site.page import asset
from lra.leaderboard.site.run_page import run_page
from lra.leaderboard.view import View

__all__ = ["pages"]


def pages(view: View) -> dict[str, str]:
    """All files of the site by name: the same view gives the same bytes."""
    of_task = [sheet for sheet in view.sheets if sheet.floor is not None]
    sheet_of = {run: sheet.name for sheet in of_task for entry in sheet.entries for run in entry.runs}
    return {
        "index.html": index_page(view),
        "style.css": asset("style.css"),
        "script.js": asset("script.js"),
        **{f"runs/{record['run']}.html": run_page(record, sheet_of[record["run"]]) for record in view.records},
    }
