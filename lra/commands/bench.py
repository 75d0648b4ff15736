"""The command `lra bench`, which times kernels, variants, and the parts of a run."""

import importlib
import sys
from argparse import Namespace
from pathlib import Path

from lra.commands.command import Parser, add_bindings, add_imports, add_results, command
from lra.commands.output import print_json, print_sheet
from lra.errors import UsageError, unknown

BY_LENGTH = ("variants", "kernels", "compile")
FIXED = ("preset", "clock", "trainer", "phases", "padding", "torch")  # these choose what they time
OWN = {
    "pictures": "variants",
    "kernels": "variants",
    "target": "compile",
    "check": "compile",
}  # options that one benchmark has
FORMATS = ("markdown", "csv", "latex")


def add_measured(parser: Parser) -> None:
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="what to time: preset (one number for each variant), variants, kernels, trainer (beside a bare loop), "
        "phases (of a run), padding or torch (the same models in PyTorch); clock tests the clock on known programs; "
        "compile times nothing: it asks the compilers of devices what a training step costs",
    )
    parser.add_argument(
        "--variant", default="all", metavar="NAME[,NAME...]", help="the variants to time (default: %(default)s)"
    )
    parser.add_argument(
        "--lengths",
        metavar="N[,N...]",
        help="the lengths to time (default for variants: LRA's, 1024,2048,3072,4096, then twice the last until memory "
        "ends; for kernels five up to 65536; for compile five up to 16384)",
    )
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="begin no measurement after N minutes (default: no limit)"
    )
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument(
        "--format", choices=FORMATS, help="print nothing but the tables, for a page, a spreadsheet or a paper"
    )
    parser.add_argument(
        "--target",
        metavar="NAME[,NAME...]",
        help="for compile: tpu-v4, tpu-v5e, tpu-v5p, tpu-v6e, hopper, cpu (default: those whose compiler is installed)",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="for compile: compile the rows of a file anew, and name those that differ",
    )
    parser.add_argument(
        "--kernels",
        metavar="NAME",
        help="for variants: the implementation of the ops in training, as for 'lra run' (default: auto, on a CPU xla)",
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw the charts of variants into a folder, as SVG and as PNG"
    )


@command(
    "bench",
    "Time kernels, training and inference of variants, steps in PyTorch, or the parts of a run, on the device at hand.",
    add_results,
    add_bindings,
    add_imports,
    add_measured,
    examples=(
        "preset",
        "variants --variant local,performer --lengths 1024,4096",
        "compile --target cpu --variant local,performer --lengths 1024",
    ),
)
def bench(options: Namespace) -> int:
    from lra import extension, settings
    from lra.bench import prediction, tables
    from lra.bench.report import Report
    from lra.bench.variants import named

    if options.what not in (names := (*BY_LENGTH, *FIXED)):
        raise unknown("benchmark", options.what, names)
    if options.what in FIXED and (options.lengths or options.gin or options.variant != "all"):
        raise UsageError(f"lra bench {options.what} chooses what it times; it has no --variant, --lengths or --gin")
    for name, owner in OWN.items():
        if getattr(options, name) and options.what != owner:
            raise UsageError(f"lra bench {options.what} has no --{name}; 'lra bench {owner}' has")
    extension.load_all(options.imports)
    lengths = lengths_of(options.lengths) if options.lengths else None
    path = options.results / f"bench-{options.what}.json"
    benchmark = importlib.import_module(f"lra.bench.{options.what}")
    if options.check:
        return check(options, lengths)
    common = benchmark.settings_of(options.gin, options.kernels) if options.what == "variants" else None
    compilers = benchmark.compilers(options.gin) if options.what == "compile" else None
    again = options.again or options.what == "clock"  # what it said before says nothing of now
    report = Report(path, benchmark.KEYS, options.minutes, again, common, compilers)
    if options.what in FIXED:
        rows = benchmark.bench(report)
    elif options.what == "kernels":
        rows = benchmark.bench(lengths or benchmark.LENGTHS, report)
    elif options.what == "compile":
        targets = targets_of(options.target)
        rows = benchmark.bench(targets, named(options.variant), lengths or benchmark.LENGTHS, options.gin, report)
    else:
        rows = benchmark.bench(named(options.variant), lengths, options.gin, report)
    quiet = options.json or options.format
    with settings.fixed():
        for row in rows:
            if not quiet:
                print("".join(f"{cell:>12}  " for cell in benchmark.cells(row)).rstrip(), flush=True)
    if options.pictures:
        from lra.bench.pictures import draw

        for line in draw(tables.of_variants(report), options.pictures):
            print(line, file=sys.stderr if quiet else sys.stdout)
    code = 0 if all(row.get("passed", True) for row in report.rows.values()) else 1
    if options.json:
        print_json(report.content)
        return code
    if options.format:
        print(tables.written(report, benchmark, options.format), end="")
        return code
    for sheet in tables.sheets(report, benchmark):
        print_sheet(sheet)
    if options.what == "compile" and (
        found := prediction.beside(report.rows.values(), path.with_name("bench-variants.json"))
    ):
        print_sheet(prediction.sheet(found))
    print(f"on {report.hardware['device']}; written to {path}")
    return code


def check(options: Namespace, lengths: list[int] | None) -> int:
    """Compares the rows of a file with what the compilers make now. Returns 1 if one differs."""
    from lra.bench import compile
    from lra.bench.variants import named

    names = targets_of(options.target) if options.target else None
    variants = None if options.variant == "all" else named(options.variant)
    found = []
    for row, difference in compile.compared(options.check, names, variants, lengths, options.gin):
        found.append(difference)
        print(f"{row['target']} {row['variant']} {row['length']:,}: {difference or 'the same'}", flush=True)
    differ = len([*filter(None, found)])
    print(f"{len(found)} rows of {options.check} compiled anew, {differ} differ")
    return 1 if differ else 0


def targets_of(text: str | None) -> list[str]:
    """The targets in a list with commas; without one those whose compiler is installed.

    Raises:
      UsageError: there is no such target, or its compiler is not installed.
    """
    from lra import targets

    if text is None:
        return targets.installed()
    names = [name.removeprefix("tpu-") for name in text.split(",")]
    for name in names:
        targets.device(name)
    return names


def lengths_of(text: str) -> list[int]:
    try:
        lengths = [int(word) for word in text.split(",")]
    except ValueError:
        lengths = [0]
    if min(lengths) < 1:
        raise UsageError(f"--lengths {text}: lengths are whole numbers from 1 with commas between them, e.g. 1024,4096")
    return lengths
