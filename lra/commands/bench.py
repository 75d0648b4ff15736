"""The command `lra bench`, which times kernels, variants, and the parts of a run."""

import importlib
import sys
from argparse import Namespace
from pathlib import Path

from lra.commands.command import Parser, add_bindings, add_imports, add_results, command
from lra.commands.output import print_json, print_sheet
from lra.errors import UsageError, unknown

BY_LENGTH = ("variants", "kernels")
FIXED = ("trainer", "phases", "padding", "torch")  # these choose what they time
FORMATS = ("markdown", "csv", "latex")


def add_measured(parser: Parser) -> None:
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="what to time: kernels, variants, trainer (beside a bare loop), phases (of a run), padding or torch "
        "(the same models in PyTorch)",
    )
    parser.add_argument(
        "--variant", default="all", metavar="NAME[,NAME...]", help="the variants to time (default: %(default)s)"
    )
    parser.add_argument(
        "--lengths",
        metavar="N[,N...]",
        help="the lengths to time (default for variants: LRA's, 1024,2048,3072,4096, then twice the last until memory "
        "ends; for kernels five up to 65536)",
    )
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="begin no measurement after N minutes (default: no limit)"
    )
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument(
        "--format", choices=FORMATS, help="print nothing but the tables, for a page, a spreadsheet or a paper"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw the charts of variants into a folder, as SVG and as PNG"
    )


@command(
    "bench",
    "Time kernels, the training steps of variants, also in PyTorch, or the parts of a run, on the device at hand.",
    add_results,
    add_bindings,
    add_imports,
    add_measured,
    examples=("kernels", "variants --variant local,performer --lengths 1024,4096", "trainer"),
)
def bench(options: Namespace) -> int:
    from lra import extension, settings
    from lra.bench import tables
    from lra.bench.report import Report

    if options.what not in (names := (*BY_LENGTH, *FIXED)):
        raise unknown("benchmark", options.what, names)
    if options.what in FIXED and (options.lengths or options.gin or options.variant != "all"):
        raise UsageError(f"lra bench {options.what} chooses what it times; it has no --variant, --lengths or --gin")
    if options.pictures and options.what != "variants":
        raise UsageError(f"lra bench {options.what} has no --pictures; 'lra bench variants' has")
    extension.load_all(options.imports)
    lengths = lengths_of(options.lengths) if options.lengths else None
    path = options.results / f"bench-{options.what}.json"
    benchmark = importlib.import_module(f"lra.bench.{options.what}")
    common = benchmark.settings_of(options.gin) if options.what == "variants" else None
    report = Report(path, benchmark.KEYS, options.minutes, options.again, common)
    if options.what in FIXED:
        rows = benchmark.bench(report)
    elif options.what == "kernels":
        rows = benchmark.bench(lengths or benchmark.LENGTHS, report)
    else:
        rows = benchmark.bench(benchmark.named(options.variant), lengths, options.gin, report)
    quiet = options.json or options.format
    with settings.fixed():
        for row in rows:
            if not quiet:
                print("".join(f"{cell:>12}  " for cell in benchmark.cells(row)).rstrip(), flush=True)
    if options.pictures:
        from lra.bench.pictures import draw

        for line in draw(tables.of_variants(report), options.pictures):
            print(line, file=sys.stderr if quiet else sys.stdout)
    if options.json:
        return print_json(report.content)
    if options.format:
        print(tables.written(report, benchmark, options.format), end="")
        return 0
    for sheet in tables.sheets(report, benchmark):
        print_sheet(sheet)
    print(f"on {report.hardware['device']}; written to {path}")
    return 0


def lengths_of(text: str) -> list[int]:
    try:
        lengths = [int(word) for word in text.split(",")]
    except ValueError:
        lengths = [0]
    if min(lengths) < 1:
        raise UsageError(f"--lengths {text}: lengths are whole numbers from 1 with commas between them, e.g. 1024,4096")
    return lengths
