"""The tables of a benchmark, in the forms that the leaderboard's tables have."""

from typing import Any

import msgspec

from lra.bench.report import Report
from lra.leaderboard import benchmark_sheet, text
from lra.leaderboard.benchmark import Benchmark, File
from lra.leaderboard.latex import latex
from lra.leaderboard.sheet import Cell, Column, Entry, Sheet


def of_variants(report: Report) -> Benchmark:
    """The rows of `lra bench variants`."""
    file = msgspec.convert(report.content, File)
    return Benchmark("bench-variants", file.hardware, file.settings, file.rows)


def sheets(report: Report, benchmark: Any) -> list[Sheet]:
    """The tables of a benchmark.

    Args:
      benchmark: its module.
    """
    if "settings" in report.common:
        return benchmark_sheet.sheets(of_variants(report))
    columns = tuple(Column(name, number=place > 0 and name != "note") for place, name in enumerate(benchmark.HEADER))
    entries = [Entry(tuple(Cell(text) for text in benchmark.cells(row))) for row in report.rows.values()]
    return [
        Sheet(report.path.stem, f"lra bench {report.path.stem.removeprefix('bench-')}", "", columns, tuple(entries))
    ]


def written(report: Report, benchmark: Any, form: str) -> str:
    """The tables as Markdown, CSV or LaTeX. CSV has each row that was measured."""
    made = sheets(report, benchmark)
    whole = "settings" in report.common
    if form == "csv" and whole:
        rows = benchmark_sheet.flat(of_variants(report))
        return text.written([*rows[0]], (row.values() for row in rows)) if rows else ""
    if form == "csv":
        return "".join(
            text.written(
                [column.name for column in sheet.columns], ([cell.text for cell in one.cells] for one in sheet.entries)
            )
            for sheet in made
        )
    if whole:
        made.append(benchmark_sheet.rows(of_variants(report)))
    return latex(made) if form == "latex" else "\n".join(line for sheet in made for line in text.section(sheet))
