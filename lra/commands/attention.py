"""The commands on attention variants: `lra variants`, `lra check`, `lra new`."""

import contextlib
import functools
import importlib.util
import io
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.commands.command import Parser, add_bindings, add_imports, add_workers, command
from lra.commands.output import print_json, print_table, warn
from lra.errors import UsageError, UserError
from lra.files import write_atomically
from lra.names import RULE, is_name
from lra.workers import as_completed

if TYPE_CHECKING:
    from lra.checks import Result


def add_one_variant(parser: Parser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="show the options of this variant, with defaults and meaning"
    )
    parser.add_argument("--family", metavar="NAME", help="list this family alone, e.g. 'state space'")


@command(
    "variants",
    "List the attention variants, or show the options of one.",
    add_imports,
    add_one_variant,
    examples=("local", "--family 'state space'", "--import my_attention.py my_attention"),
)
def variants(options: Namespace) -> int:
    from lra import extension
    from lra.checks import status
    from lra.commands.parameters import show_parameters
    from lra.families import FAMILIES, OUTSIDE
    from lra.models.attention import VARIANTS
    from lra.parameter_budget import REFERENCE, allowed_excess, excess, parameter_counts
    from lra.recipe import variant_named

    extension.load_all(options.imports)
    if options.name is not None:
        variant = variant_named(options.name)
        return show_parameters(variant.name, f"{variant.name}: {variant.paper} ({variant.where})", options.json)
    order = [*FAMILIES, OUTSIDE]
    if options.family not in (None, *order):
        raise UsageError(f"--family '{options.family}' is none of {', '.join(order)}")
    transformer = parameter_counts(REFERENCE)
    described: list[dict[str, Any]] = []
    for variant in sorted(VARIANTS.values(), key=lambda variant: (order.index(variant.family), variant.name)):
        if options.family not in (None, variant.family):
            continue
        counts = parameter_counts(variant.name)
        described.append(
            {"name": variant.name, "family": variant.family, "paper": variant.paper, "cost": variant.cost,
             "memory": variant.memory, "causal": variant.causal, "reads_positions": variant.reads_positions,
             "version": variant.version, "parameters": counts, "excess": excess(counts, transformer),
             "check": status.summary(variant), "file": variant.file, "line": variant.line}
        )  # fmt: skip
    if options.json:
        return print_json(described)
    rows = []
    for entry in described:
        task, share = max(entry["excess"].items(), key=lambda item: item[1])
        most = f"{share:+.1%} {task}" + (" !" if share > allowed_excess() else "")
        count = f"{entry['parameters']['listops']:,}"
        rows.append([entry["name"], entry["family"], entry["cost"], count, most, entry["check"], entry["paper"]])
    print_table(("variant", "family", "time", "parameters", "most against transformer", "check", "paper"), rows)
    print(
        "parameters: of protocol paper on ListOps, and on the task on which they exceed the Transformer's the most; "
        f"! is more than LRA's rule allows, {allowed_excess():.0%}"
    )
    return 0


def add_checked(parser: Parser) -> None:
    parser.add_argument("variants", nargs="+", metavar="NAME", help="a variant to check, or 'all'")


@command(
    "check",
    "Check that variants are what they say; exit code 1 if one is not.",
    add_bindings,
    add_imports,
    add_checked,
    add_workers,
    examples=("--import my_attention.py my_attention", "local --gin 'local.radius = 4'", "all"),
)
def check(options: Namespace) -> int:
    from lra import extension
    from lra.checks import CHECKS, status
    from lra.models.attention import VARIANTS
    from lra.progress import Display
    from lra.recipe import parsed, variant_named

    extension.load_all(options.imports)
    names = list(dict.fromkeys(sorted(VARIANTS) if "all" in options.variants else options.variants))
    for name in names:
        variant_named(name)
    if options.workers < 1:
        raise UsageError(f"--workers {options.workers} is not at least 1")
    parsed(options.gin)  # reports a wrong binding before the first check
    by_variant: dict[str, list[Result]] = {}
    not_kept: set[str] = set()
    with Display() as display, display.bar("checks", len(names) * len(CHECKS)) as bar:
        for name, results in checked(names, options, bar.advance):
            by_variant[name] = results
            try:
                status.save(VARIANTS[name], results, options.gin)
            except UserError as error:
                not_kept.add(str(error))
            if len(names) > 1:
                display.say(f"{name}: {status.in_words([result.status for result in results])}")
    for problem in sorted(not_kept):
        warn(f"'lra variants' and 'lra leaderboard submit' will not know these results: {problem}")
    statuses = {name: {result.status for result in by_variant[name]} for name in names}
    failing = [name for name in names if "fails" in statuses[name]]
    unchecked = [name for name in names if "not run" in statuses[name] and name not in failing]
    if options.json:
        print_json([as_json(name, by_variant[name]) for name in names])
    elif len(names) == 1:
        print_results(names[0], by_variant[names[0]])
    else:
        print_findings({name: by_variant[name] for name in names})
    if failing:
        raise UserError(f"not what they say: {', '.join(failing)} ({len(failing)} of {len(names)})")
    if unchecked:
        raise UserError(f"not all checks could be run: {', '.join(unchecked)} ({len(unchecked)} of {len(names)})")
    return 0


def checked(names: Sequence[str], options: Namespace, advance: Any) -> Iterator[tuple[str, "list[Result]"]]:
    """The results of each variant, in the order in which they are ready."""
    from lra.checks import CHECKS, check_variant

    if len(names) == 1 or options.workers == 1:
        for name in names:
            yield name, check_variant(name, options.gin, advance)
        return
    # JAX shares no compiled programs between variants, so that processes lose nothing
    check_one = functools.partial(check_variant, overrides=options.gin)
    begin = functools.partial(load_in_worker, options.imports)
    for name, results in as_completed(check_one, names, options.workers, begin):
        advance(len(CHECKS))
        yield name, results


def load_in_worker(paths: Sequence[Path]) -> None:
    from lra import extension

    with contextlib.redirect_stderr(io.StringIO()):  # the command has already reported packages that are left out
        extension.load_all(paths)


def as_json(name: str, results: "Sequence[Result]") -> dict[str, Any]:
    from lra.checks import CHECKS
    from lra.models.attention import VARIANTS

    return {
        "variant": name,
        "file": VARIANTS[name].file,
        "line": VARIANTS[name].line,
        "holds": not any(result.status in ("fails", "not run") for result in results),
        "checks": [
            {"name": result.check, "status": result.status, "promise": CHECKS[result.check].promise,
             "meaning": CHECKS[result.check].meaning, "details": list(result.details), "reason": result.reason}
            for result in results
        ],
    }  # fmt: skip


def print_results(name: str, results: "Sequence[Result]") -> None:
    """Prints the results of all checks of one variant."""
    from lra.checks import CHECKS, status
    from lra.models.attention import VARIANTS

    print(f"{name} ({VARIANTS[name].where})")
    run = [result for result in results if result.status != "not run"]
    rows = [[result.check, result.status, in_words(result) or CHECKS[result.check].promise] for result in run]
    rows += not_run(results)
    print_table(("check", "result", "what"), rows)
    print(f"{name}: {status.in_words([result.status for result in results])}")


def not_run(results: "Sequence[Result]") -> list[list[str]]:
    """One row for all checks that were not run for the same reason."""
    checks: dict[str, list[str]] = {}
    for result in results:
        if result.status == "not run":
            checks.setdefault("; ".join(result.details), []).append(result.check)
    return [
        [f"{len(names)} checks" if len(names) > 1 else names[0], "not run", f"{reason} ({', '.join(names)})"]
        for reason, names in checks.items()
    ]


def print_findings(by_variant: "dict[str, list[Result]]") -> None:
    """Prints the checks of several variants that failed or are excepted."""
    rows = [
        [name, result.check, result.status, in_words(result)]
        for name, results in by_variant.items()
        for result in results
        if result.status in ("fails", "excepted")
    ]
    if rows:
        print_table(("variant", "check", "result", "what"), rows)


def in_words(result: "Result") -> str:
    """The findings of a check and their meaning; empty if the check holds."""
    from lra.checks import CHECKS

    details = "; ".join(result.details)
    if result.status == "fails":
        return f"{details}: {CHECKS[result.check].meaning}"
    return f"{details}. Excepted: {result.reason}" if result.status == "excepted" else details


def add_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the name of the variant; its file is NAME.py")


def free_file(name: str, what: str) -> Path:
    """The path of a new file for a variant or a task of that name.

    Raises:
      UsageError, UserError: it is no name for one, or the file is there.
    """
    from lra import template
    from lra.sections import SECTIONS

    path = Path(f"{name}.py")
    if not is_name(name):
        raise UsageError(f"'{name:.100}' is no name for a {what}; {RULE}")
    if name in template.RESERVED or name in SECTIONS:
        raise UsageError(f"'{name}' is no name for a {what}, since it means something else; choose another")
    if path.exists():
        raise UserError(f"{path} is there already; choose another name, or move it away")
    if (spec := importlib.util.find_spec(name)) and spec.origin:
        raise UsageError(
            f"'{name}' is a module of Python or of an installed package, which {path} would hide; choose another"
        )
    return path


@command("new", "Write a file with an attention variant to begin with.", add_name, examples=("my_attention",))
def new(options: Namespace) -> int:
    from lra import extension, template
    from lra.models.attention import VARIANTS
    from lra.tasks import TASKS

    extension.load_installed()
    name = options.name
    if name in TASKS:
        raise UsageError(f"'{name}' is no name for a variant, since it means something else; choose another")
    if name in VARIANTS:
        raise UsageError(f"an attention variant called '{name}' is there already ({VARIANTS[name].where})")
    path = free_file(name, "variant")
    write_atomically(path, template.variant(name))
    if options.json:
        return print_json({"variant": name, "file": str(path.resolve())})
    print(f"written to {path}; next:\n\n    lra check --import {path} {name}")
    print("    lra prepare listops --protocol demo")
    print(f"    lra run --import {path} --task listops --variant {name} --protocol demo --seeds 0,1,2")
    print("    lra leaderboard build")
    return 0
