"""A table for a paper has the numbers of the board, the best in bold, and LaTeX takes it."""

import csv
import io
import shutil
import subprocess

import numpy as np
import pytest
from made_records import TRACKS, make

from lra.cli import main
from lra.errors import UsageError
from lra.leaderboard import store
from lra.leaderboard.board import make_board
from lra.leaderboard.paper import by_seed, paper, split_names
from lra.leaderboard.record import write

ACCURACY = {
    ("listops", "transformer"): {0: 0.5, 1: 0.6}, ("listops", "s5"): {0: 0.7, 1: 0.5}, ("listops", "fnet"): {0: 0.3},
    ("text", "transformer"): {0: 0.8, 1: 0.9}, ("text", "s5"): {0: 0.4, 1: 0.4},
}  # fmt: skip
RECORDS = [make(variant, seeds, task__name=task) for (task, variant), seeds in ACCURACY.items()]
BOARD = make_board(RECORDS, TRACKS)


def rows_of(text):
    """The cells below the rule that ends the head, by the name of their row."""
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
    return {line.split(" & ")[0]: line.removesuffix(r" \\").split(" & ")[1:] for line in body.splitlines()}


def test_the_cells_are_the_means_and_the_best_is_bold():
    found = rows_of(paper(BOARD, "demo", ["text", "listops"], [], ["accuracy"]))
    best = {
        task: max(np.mean([*own.values()]) for (name, _), own in ACCURACY.items() if name == task)
        for task, _ in ACCURACY
    }
    for name, cells in found.items():
        for task, cell in zip(("text", "listops"), cells):
            if (task, name) not in ACCURACY:
                assert cell == "--"
                continue
            mean = np.mean([*ACCURACY[task, name].values()])
            assert cell == (rf"\textbf{{{100 * mean:.2f}}}" if mean == best[task] else f"{100 * mean:.2f}")


def test_rows_and_columns_are_those_that_are_asked_for_in_their_order():
    text = paper(BOARD, "demo", ["listops"], ["fnet", "s5"], ["accuracy", "seeds", "difference"])
    assert [*rows_of(text)] == ["fnet", "s5"]
    # the best of the rows that are there
    assert rows_of(text)["s5"] == [r"\textbf{60.00}", "2", "+5.00"]
    assert r"\multicolumn{3}{c}{listops}" in text
    assert r"\cmidrule(lr){2-4}" in text


def test_the_file_by_seed_has_each_accuracy():
    rows = [*csv.DictReader(io.StringIO(by_seed(BOARD, "demo", [], ["s5", "fnet"])))]
    found = {(row["task"], row["row"], int(row["seed"])): float(row["accuracy"]) for row in rows}
    assert found == {
        (task, name, seed): share
        for (task, name), own in ACCURACY.items() if name != "transformer"
        for seed, share in own.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("demmo", [], [], ["accuracy"]), "protocol with records.*demo"),
        (("demo", ["image"], [], ["accuracy"]), "task with records of protocol demo"),
        (("demo", [], ["s4"], ["accuracy"]), "row.*s5"),
        (("demo", [], [], ["acuracy"]), "column.*accuracy"),
    ],
)
def test_names_that_are_not_there(asked, says):
    with pytest.raises(UsageError, match=says):
        paper(BOARD, *asked)


def test_names_with_brackets_are_one():
    assert split_names("local (radius = 2, causal = True),s5") == ["local (radius = 2, causal = True)", "s5"]
    with pytest.raises(UsageError, match="empty name"):
        split_names("s5,,local")


def test_the_command_writes_both_files_and_latex_takes_the_fragment(tmp_path, capsys):
    for record in RECORDS:
        write(record, store.folder_of(tmp_path / "results"))
    out = tmp_path / "table.tex"
    asked = ["leaderboard", "table", str(tmp_path / "results"), "--protocol", "demo", "--columns", "accuracy,p"]
    assert main([*asked, "--out", str(out)]) == 0
    assert out.with_suffix(".csv").read_text("utf-8").startswith("task,protocol,")
    assert main([*asked, "--out", str(tmp_path / "table.csv")]) == 1
    assert not [*tmp_path.glob("*.csv.csv")]
    if not shutil.which("pdflatex"):
        pytest.skip("there is no LaTeX here (pdflatex); .ci/run installs it")
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    done = subprocess.run(["pdflatex", "-halt-on-error", "paper.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-800:]
