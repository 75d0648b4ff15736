"""Markdown, CSV and LaTeX: every cell is where it should be, whatever texts the records have."""

import csv
import io
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import TRACKS, make

from lra.leaderboard import literature, text
from lra.leaderboard.board import make_board
from lra.leaderboard.flat import COLUMNS
from lra.leaderboard.latex import escaped, latex
from lra.leaderboard.sheet import Sheet, sheets

DOCS = Path(__file__).resolve().parents[2] / "docs" / "leaderboard.md"
ODD = [
    "a|b", "a\nb", "a\r\nb", "| --- |", "a,b", '"a"', "[red]", "a\\", "a\\|b", "π", "<b>a</b>", "{", "}", "=1+1", "`a`",
    "<script>alert(1)</script>", r"\input{/etc/passwd}", "$x^2_1$", "100 % & more #1 ~", "\\end{longtable}", "a\x00b",
    "\u202ea",
]  # fmt: skip


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table by GitHub's rule: a bar ends a cell, a backslash takes what follows."""
    assert re.fullmatch(r"\|((\\.|[^\\|])*\|)+", line)
    parts = re.findall(r"((?:\\.|[^\\|])*)\|", line[1:])
    return [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell).strip() for cell in parts]


def markdown_tables(page: str) -> list[list[dict[str, str]]]:
    """The tables of a page; a table is a run of lines that begin with a bar."""
    tables = []
    for is_table, lines in itertools.groupby(re.split(r"\r\n|\r|\n", page), lambda line: line.startswith("|")):
        if is_table:
            header, rule, *rows = map(cells, lines)
            assert all(re.fullmatch("-+:?", cell) for cell in rule)
            assert {len(row) for row in rows} == {len(rule)} == {len(header)}
            tables.append([dict(zip(header, row)) for row in rows])
    return tables


def odd_records(odd: str) -> list:
    return [
        make("local", {0: 0.5}, protocol__overrides=[f"local.name = {odd}"]),
        make("linear", {0: 0.6}, variant__paper=odd),
        make("performer", {0: 0.3}, measured__hardware={"platform": "gpu", "device": odd}),
        make("local", {0: 0.7}, protocol__overrides=[f"train.name = {odd}"]),
    ]


def test_a_row_in_markdown():
    page = text.markdown(sheets(make_board([make(accuracy={0: 0.3635, 1: 0.371, 2: 0.352, 5: None})], TRACKS)), [])
    ((shown,),) = markdown_tables(page)
    assert shown["variant"] == "local"
    assert shown["accuracy %"] == "36.22"
    assert shown["95 % interval"] == "33.84 to 38.59"  # 36.2167 -+ 4.3027 x 0.9569 / sqrt(3)
    assert shown["seeds"] == "4"
    assert shown["parameters"] == "67,210"
    assert "1 of 4 seeds diverged" in shown["note"]
    assert "12.50 %" in page
    assert "2,000 test examples" in page


def test_marks_have_their_meaning_below_the_table():
    page = text.markdown(sheets(make_board([make(accuracy={0: 0.125})], TRACKS)), [])
    ((shown,),) = markdown_tables(page)
    assert shown["accuracy %"] == "12.50<sup>†</sup>"
    assert shown["seeds"] == "1<sup>‡</sup>"
    assert re.search("^<sup>†</sup> not distinguishable from the floor", page, re.M)
    assert re.search("^<sup>‡</sup> fewer than three seeds", page, re.M)


def test_marks_do_not_run_together():
    """S4D-Lin has the footnotes 1, 10 and 12."""
    (sheet,) = (sheet for sheet in literature.sheets() if sheet.name == "published-later-systems")
    assert "S4D-Lin<sup>1,10,12</sup>" in text.markdown([], [sheet])
    assert r"S4D-Lin\textsuperscript{1,10,12}" in latex([sheet])


def test_pathx_is_a_success_rate():
    page = text.markdown(sheets(make_board([make(accuracy={0: 0.9, 1: 0.5, 2: None}, task__name="pathx",
                                                 task__floor__test=0.5, task__unlearnt=0.5)], TRACKS)), [])  # fmt: skip
    ((shown,),) = markdown_tables(page)
    assert shown["note"].startswith("1 of 3 seeds learnt")


@pytest.mark.parametrize("odd", ODD)
def test_odd_texts_stay_in_their_cells(odd):
    page = text.markdown(sheets(make_board(odd_records(odd), TRACKS)), [])
    tables = markdown_tables(page)
    assert sorted(len(table) for table in tables) == [1, 3]
    assert {row["accuracy %"] for table in tables for row in table} == {"50.00", "60.00", "70.00", "30.00"}
    # no markup but the marks'
    assert not re.search(r"(?<!\\)<(?!/?sup>)", page)


@pytest.mark.parametrize("odd", ODD)
def test_csv_has_a_row_for_each(odd):
    rows = [*csv.DictReader(io.StringIO(text.as_csv(make_board(odd_records(odd), TRACKS)), newline=""))]
    assert sorted(row["accuracy_mean"] for row in rows) == ["0.3", "0.5", "0.6", "0.7"]
    (own,) = (row for row in rows if row["accuracy_mean"] == "0.5")
    shown = "'a'" if odd == '"a"' else odd  # a plain value is shown in Python's notation
    assert own["variant"].replace("\r\n", "\n") == f"local (name = {shown})".replace("\r\n", "\n")


def test_every_key_of_a_row_is_documented():
    rows = DOCS.read_text("utf-8").split("| key | what it is |")[1].split("\n## ")[0]
    keys = [
        key for line in rows.splitlines() for key in re.findall("`(.*?)`", line.split("|")[1] if "|" in line else "")
    ]
    assert sorted(keys) == sorted(COLUMNS)


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@sum(1)"])
def test_a_text_is_no_formula_of_a_spreadsheet(formula):
    (row,) = csv.DictReader(io.StringIO(text.as_csv(make_board([odd_records(formula)[2]], TRACKS))))
    assert row["hardware"] == f"'{formula}"


def test_csv_of_the_literature_has_every_number():
    rows = [*csv.DictReader(io.StringIO(text.published_csv(literature.sheets())))]
    (cell,) = (row for row in rows if (row["system"], row["column"]) == ("S4", "pathx (floor 50)"))
    assert float(cell["value"]) == 96.35
    assert "validation" in cell["notes"]
    assert len(rows) > 300


# --- LaTeX -----------------------------------------------------------------------------------------------------


@given(st.text())
def test_nothing_of_a_text_is_a_command(any_text):
    """Without the escapes that the code writes, the text has no character that TeX acts on."""
    ours = r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textasciigrave|dag|ddag)\{\}"
    plain = re.sub(ours + r"|\\[{}$&#_%]|\$\\pm\$|\{[\[\]]\}", "", escaped(any_text))
    assert not re.search(r"[\\{}$&#^_~%\n]", plain)


def typeset(page: str, folder) -> str:
    """The text of the document that pdflatex makes. Fails if pdflatex reports any error."""
    (folder / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_latex_compiles_with_all_the_literature_and_odd_texts(tmp_path, pdflatex):
    boards = [make_board(odd_records(odd), TRACKS) for odd in ODD]
    page = latex([*(sheet for board in boards for sheet in sheets(board)), *literature.sheets()])
    assert "Output written on page.pdf" in typeset(page, tmp_path)
    if reader := shutil.which("pdftotext"):
        words = subprocess.run(
            [reader, "page.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        assert "Linformer" in words
        assert "</script>" in words


def test_latex_has_the_rows_of_the_sheet():
    sheet: Sheet
    (sheet,) = sheets(make_board([make("local", {0: 0.5}), make("sparse_transformer", {0: 0.25})], TRACKS))
    page = latex([sheet])
    body = page.split(r"\endfoot")[1].split(r"\end{longtable}")[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in body]
    assert [row[0] for row in rows] == ["local", r"sparse\_transformer"]
    assert [row[1] for row in rows] == ["50.00", "25.00"]
    assert r"\toprule" in page
    assert r"\usepackage{booktabs" in page


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=30))
def test_any_text_makes_a_table(odd):
    page = text.markdown(
        sheets(make_board([make(accuracy={0: 0.5}, protocol__overrides=[f"local.name = {odd}"])], TRACKS)), []
    )
    ((shown,),) = markdown_tables(page)
    assert shown["accuracy %"] == "50.00"
