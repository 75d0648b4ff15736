"""The command that times kernels and variants."""

import importlib
from argparse import Namespace

from lra.commands.output import print_json, print_table
from lra.errors import UsageError, unknown

LENGTHS = {"variants": (1024, 2048, 3072, 4096), "kernels": (1024, 2048, 4096, 16384, 65536)}


def bench(options: Namespace) -> int:
    from lra import extension
    from lra.bench.report import Report

    if options.what not in LENGTHS:
        raise unknown("benchmark", options.what, LENGTHS)
    extension.load_all(options.imports)
    lengths = lengths_of(options.lengths) if options.lengths else LENGTHS[options.what]
    path = options.results / f"bench-{options.what}.json"
    what = importlib.import_module(f"lra.bench.{options.what}")
    report = Report(path, what.KEYS, options.minutes, options.again)
    if options.what == "kernels":
        rows = what.bench(lengths, report)
    else:
        rows = what.bench(what.named(options.variant), lengths, options.gin, report)
    for row in rows:
        if not options.json:
            print("".join(f"{cell:>12}  " for cell in what.cells(row)).rstrip(), flush=True)
    measured = list(report.rows.values())
    if options.json:
        return print_json({"hardware": report.hardware, "rows": measured})
    print_table(what.HEADER, [what.cells(row) for row in measured], numbers=True)
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
