"""The command `lra leaderboard build`, which makes the leaderboard from records."""

from argparse import Namespace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lra.commands.command import Parser, add_results, command
from lra.commands.output import print_json, print_sheet
from lra.errors import UserError
from lra.files import write_atomically, writing

if TYPE_CHECKING:
    from lra.leaderboard.view import View


def add_tables(parser: Parser) -> None:
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="a folder of records (default: --results and the project's own records)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder to write (default: leaderboard in --results)"
    )
    parser.add_argument(
        "--reference",
        default="transformer",
        metavar="ROW",
        help="the row that all others are compared with (default: %(default)s)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail if a file differs from what would be written"
    )


@command(
    "leaderboard build",
    "Make all tables and the site from records.",
    add_results,
    add_tables,
    examples=("", "results-of-a results-of-b --out tables"),
)
def leaderboard_build(options: Namespace) -> int:
    """Writes all tables and the site. With --check it compares them with the files instead."""
    folders = options.folders or [options.results, shipped()]
    for folder in options.folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder} is no folder; name one with records, or none for --results and the project's own"
            )
    view = view_of(folders, options.reference)
    if not view.records and not view.elsewhere:
        named = ", ".join(map(str, folders))
        raise UserError(f"there are no records in {named}; 'lra run' makes them" + reasons(view.left_out))
    out = options.out or options.results / "leaderboard"
    made = outputs(view)
    if options.check:
        check_files(made, out)
        print(f"{out}: all {len(made)} files are what the records give")
    else:
        try:
            for name, text in made.items():
                write_atomically(out / name, text, durable=False)
            remove_stale(made, out)
        finally:  # the tables are made, even if they cannot be written
            show(options, view)
        if not options.json:
            print(f"tables: {out / 'leaderboard.md'}, .csv and .tex\nopen {out.resolve() / 'index.html'}")
    if view.left_out:
        count = len(view.left_out)
        raise UserError(f"{count} file{'s were' if count > 1 else ' was'} left out" + reasons(view.left_out))
    return 0


def add_paper(parser: Parser) -> None:
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="as for 'lra leaderboard build'")
    parser.add_argument("--protocol", required=True, metavar="NAME", help="the protocol of the records")
    parser.add_argument("--tasks", metavar="NAME[,NAME...]", help="the tasks, in their order (default: all)")
    parser.add_argument("--rows", metavar="NAME[,NAME...]", help="the rows, as the tables name them (default: all)")
    parser.add_argument(
        "--columns",
        default="accuracy",
        metavar="NAME[,NAME...]",
        help="what each task has: accuracy, interval, difference, p, seeds, reaches, parameters, rate, speed, memory "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE.tex", help="the file to write; FILE.csv has each seed"
    )


@command(
    "leaderboard table",
    "Write a table for a paper, a LaTeX fragment with the best in bold, and the accuracies by seed as CSV.",
    add_results,
    add_paper,
    examples=("--protocol demo --tasks listops,synthetic_text --rows transformer,local --out table.tex",),
)
def leaderboard_table(options: Namespace) -> int:
    """Writes some rows, tasks and columns of the tables."""
    from lra.leaderboard.paper import by_seed, paper, split_names

    tasks, rows = (split_names(text) if text else [] for text in (options.tasks, options.rows))
    board = view_of(options.folders or [options.results, shipped()], "transformer").board
    text = paper(board, options.protocol, tasks, rows, split_names(options.columns))
    data = options.out.with_suffix(".csv")
    if data == options.out:
        raise UserError(f"--out {options.out}: that is the name of the table by seed; take one that ends in .tex")
    write_atomically(options.out, text)
    write_atomically(data, by_seed(board, options.protocol, tasks, rows))
    if options.json:
        return print_json({"latex": str(options.out.resolve()), "csv": str(data.resolve())})
    print(f"written to {options.out}, for \\input with the package booktabs, and {data}")
    return 0


def view_of(folders: list[Path], reference: str) -> "View":
    """All that the outputs show of the records in some folders."""
    from lra.families import FAMILY
    from lra.leaderboard import benchmark, external, external_sheet, literature, store
    from lra.leaderboard.board import make_board
    from lra.leaderboard.sheet import sheets
    from lra.leaderboard.view import View
    from lra.tasks import ARENA, TASKS
    from lra.tracks import tracks

    records, left_out = store.load(folders)
    classes = {task.name: task.num_classes for task in TASKS.values()}
    results, wrong = external.find(map(store.records_folder, folders), classes)
    came, _ = store.load([shipped()])
    board = make_board(records, tracks(), reference, came, ARENA, FAMILY)
    return View(
        board, tuple(sheets(board)), literature.sheets(), literature.scalings(), tuple(records),
        (*left_out, *wrong), tuple(benchmark.find(folders)), tuple(results),
        tuple(external_sheet.sheets(results, ARENA)),
    )  # fmt: skip


def outputs(view: "View") -> dict[str, str]:
    """All files, by name. The same view gives the same bytes."""
    from lra.leaderboard import benchmark_sheet, site, text
    from lra.leaderboard.latex import latex

    ours = [*view.sheets, *view.elsewhere, *(sheet for own in view.benchmarks for sheet in benchmark_sheet.sheets(own))]
    return {
        "leaderboard.md": text.markdown(ours, view.published),
        "leaderboard.csv": text.as_csv(view.board),
        "elsewhere.csv": text.elsewhere_csv(view.results),
        "published.csv": text.published_csv(view.published),
        "leaderboard.tex": latex([*ours, *view.published]),
        **site.pages(view),
    }


def check_files(made: dict[str, str], out: Path) -> None:
    """Raises UserError if a file is missing, differs, or should not exist."""
    wrong = [name for name, text in sorted(made.items()) if not same(out / name, text)]
    wrong += [str(path.relative_to(out)) for path in ours(out) if str(path.relative_to(out)) not in made]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"{out}: {', '.join(wrong[:3])}{more} not what the records give; the same call without --check writes them"
        )


def same(path: Path, text: str) -> bool:
    """Whether a file has exactly this text."""
    try:
        return path.read_bytes() == text.encode(errors="backslashreplace")
    except OSError:
        return False


def ours(out: Path) -> list[Path]:
    """The pages of runs in an output folder. All other files have fixed names."""
    return sorted((out / "runs").glob("????????????.html"))


def remove_stale(made: dict[str, str], out: Path) -> None:
    """Removes the pages of runs that have no record any more."""
    for path in ours(out):
        if str(path.relative_to(out)) not in made:
            with writing(path):
                path.unlink()


def show(options: Namespace, view: "View") -> None:
    """Prints the tables with rows that did not come with the project, or all if there are none; as JSON the rows that
    CSV has.
    """
    from lra.leaderboard.flat import flat

    if options.json:
        print_json(flat(view.board))
        return
    own = [sheet for sheet in view.sheets if any(entry.runs and not entry.came for entry in sheet.entries)]
    for sheet in (*(own or view.sheets), *view.elsewhere):
        print_sheet(sheet)


def reasons(left_out: tuple[str, ...]) -> str:
    """Why files were left out, as the end of an error."""
    return "".join(f"; {line}" for line in left_out[:3]) + (f"; and {len(left_out) - 3} more" if left_out[3:] else "")


def shipped() -> Path:
    """The records that come with the project."""
    return Path(str(files("lra.leaderboard").joinpath("results")))
