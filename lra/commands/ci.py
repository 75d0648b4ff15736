"""The commands `lra ci baseline` and `lra ci run`, which gate changes of a variant."""

import dataclasses
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lra.commands.command import Parser, add_bindings, add_imports, add_workers, command
from lra.commands.output import print_json, print_table
from lra.errors import UsageError, UserError, unknown
from lra.files import check_writable, write_atomically

if TYPE_CHECKING:
    from lra.ci.baseline import Workload
    from lra.ci.changes import Change


def add_gated(parser: Parser) -> None:
    parser.add_argument(
        "variants", nargs="*", metavar="NAME", help="a variant to measure (default: those of the baseline)"
    )
    parser.add_argument(
        "--file",
        type=Path,
        default=Path("lra-ci.json"),
        metavar="FILE",
        help="the baseline's file (default: %(default)s)",
    )
    add_workers(parser, ", for everything but time")


def add_reports(parser: Parser) -> None:
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the result as JUnit's XML")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the result as Markdown")


@command(
    "ci baseline",
    "Measure variants and write a baseline, a file to commit.",
    add_bindings,
    add_imports,
    add_gated,
    examples=("my_attention --import my_attention.py", "local"),
)
def ci_baseline(options: Namespace) -> int:
    """Measures variants and writes their baseline."""
    from msgspec import structs

    from lra import extension
    from lra.ci import baseline, measure
    from lra.ci.quantities import QUANTITIES
    from lra.leaderboard.record import as_json
    from lra.progress import Display

    extension.load_all(options.imports)
    names, bindings = options.variants, options.gin
    if options.file.exists():  # the new baseline has the variants of the old one, or more
        old = baseline.read(options.file)
        if lost := [name for name in old.variants if names and name not in names]:
            raise UsageError(
                f"{options.file} has {', '.join(lost)} too; name all, none for those that it has, or another --file"
            )
        bindings = bindings or old.workload.bindings
        names = names or list(old.variants)
    if not names:
        raise UsageError(f"there is no {options.file} yet; name the variants, as in 'lra ci baseline local'")
    workload = structs.replace(baseline.WORKLOAD, bindings=baseline.admit_bindings(bindings))
    work = measure.Work(admitted(names, workload, options), workload, (), options.imports, options.workers)
    check_writable(options.file)
    total = len(work.names) * len(QUANTITIES) + 2 * workload.processes
    with Display() as display, display.bar("measuring", total) as bar:
        made = measure.for_baseline(work, bar.advance)
    baseline.write(made, options.file)
    if options.json:
        return print_json(as_json(made))
    print(f"{', '.join(work.names)}: written to {options.file}; commit it, and 'lra ci run' compares with it")
    return 0


@command(
    "ci run",
    "Measure again; exit code 1 if anything got worse.",
    add_bindings,
    add_imports,
    add_gated,
    add_reports,
    examples=("", "--import my_attention.py --markdown lra-ci.md --junit lra-ci.xml"),
)
def ci_run(options: Namespace) -> int:
    """Measures variants again and compares them with the baseline. Raises UserError if a quantity fails."""
    from lra import extension
    from lra.ci import baseline, measure, report
    from lra.ci.changes import changes
    from lra.ci.quantities import QUANTITIES
    from lra.progress import Display

    extension.load_all(options.imports)
    then = baseline.read(options.file)
    for name in options.variants:
        if name not in then.variants:
            raise unknown(f"variant of {options.file}", name, then.variants)
    names = admitted(options.variants or list(then.variants), then.workload, options)
    work = measure.Work(names, then.workload, options.gin, options.imports, options.workers)
    total = len(names) * len(QUANTITIES) + then.workload.processes
    for path in filter(None, (options.markdown, options.junit)):
        check_writable(path)
    with Display() as display, display.bar("measuring", total) as bar:
        now = measure.for_comparison(work, then, bar.advance)
    compared = changes(then, now)
    remarks = report.notes(then, now, compared)
    bad = [change for change in compared if change.fails]
    if options.json:
        print_json({"holds": not bad, "notes": remarks, "changes": [dataclasses.asdict(change) for change in compared]})
    else:
        if shown := report.notable(compared):
            print_table(report.HEADER, [report.cells(change) for change in shown])
        print("\n".join([report.sentence(compared), *remarks]))
    if options.markdown:
        write_atomically(options.markdown, report.markdown(compared, remarks))
    if options.junit:
        write_atomically(options.junit, report.junit(compared, remarks))
    if bad:
        raise UserError(f"{summary(bad)} ({len(bad)} of {len(compared)} quantities fail)")
    return 0


def admitted(names: list[str], workload: "Workload", options: Namespace) -> list[str]:
    """The names without repetitions, after a check of variants, bindings and workers.

    Raises:
      UsageError: a variant is not registered, a binding is not valid, or `--workers` is less than 1.
    """
    from lra.ci.quantities import plan_of
    from lra.models.attention import VARIANTS
    from lra.models.attention.elsewhere import unknown_variant

    if options.workers < 1:
        raise UsageError(f"--workers {options.workers} is not at least 1")
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in VARIANTS:
            raise unknown_variant(name, VARIANTS)
        try:
            plan_of(name, workload, () if options.action == "baseline" else options.gin)
        except UsageError:
            raise
        except UserError:  # the variant raises; the measurement reports it
            continue
    return names


def summary(bad: "list[Change]") -> str:
    """The first failures in one line."""
    first = [f"{change.variant} {change.quantity} {change.difference or change.outcome}" for change in bad[:3]]
    return ", ".join(first) + (f" and {len(bad) - 3} more" if bad[3:] else "")
