"""The page of a run: its results, and everything that is needed to repeat it."""

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lra.errors import UserError
from lra.leaderboard.config import environment_of
from lra.leaderboard.record import KernelUse, Record, Score, SeedResult, as_json, file_name
from lra.leaderboard.row import steps_per_second
from lra.leaderboard.site.lines import curves
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.names import cropped
from lra.leaderboard.site.page import block, definitions, frame, page
from lra.leaderboard.statistics import accuracy_interval
from lra.leaderboard.sweeps import hardware_of

ARXIV = re.compile(r"(\d{4}\.\d{4,5})(v\d+)?")


def run_page(record: Record, name: str, table: str, breaches: Sequence[str]) -> str:
    """The page of a run.

    Args:
      name: the record's name on the board: its run, or more if another record is of the same run.
      table: the title of the table that has the run.
      breaches: why it is not ranked.
    """
    variant, task = record.variant, record.task
    title = f"{variant.name} on {task.name}"
    header = [
        element("p", element("a", f"← {cropped(table, 80)}", href=f"../index.html#{name}"), class_="back"),
        element("h1", title),
        element("p", f"Run {record.run}, {record.status}", f": {record.error}" if record.error else "",
                class_="lead"),
    ]  # fmt: skip
    drawn = curves(record)
    main = [
        figures(record),
        part("Not ranked", element("ul", [element("li", line) for line in breaches])) if breaches else None,
        part("Make it again", *again(record)),
        part("Curves", element("div", drawn, class_="figures")) if drawn else None,
        part("Seeds", seeds(record)) if record.seeds else None,
        part("What was run", definitions(settings(record))),
        part("What it was run on", definitions(circumstances(record))),
        part("Configuration", block(record.config, "every value that decided the outcome")),
        part("Source of the variant", *sources(variant.sources)) if variant.sources else None,
    ]
    return page(f"{title}, run {record.run}", "../", header, element("div", main, class_="run"))


def part(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def sources(texts: Mapping[str, str]) -> list[Child]:
    """The files of a variant; a single one needs no name."""
    if len(texts) == 1:
        return [block(next(iter(texts.values())), "source of the variant")]
    return [child for path, text in texts.items() for child in (element("h3", path), block(text, f"source in {path}"))]


def figures(record: Record) -> Markup:
    """The key figures."""
    shares = [seed.test.accuracy for seed in record.seeds if seed.test]
    mean, low, high = accuracy_interval(shares) if shares else (None, None, None)
    rate, memory = steps_per_second(record), max(record.measured.memory_bytes.values(), default=0)
    facts = [
        ("test accuracy", "none" if mean is None else f"{100 * mean:.2f} %"),
        ("95 % interval over seeds", "" if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"),
        ("seeds", f"{len(shares)} of {len(record.seeds)} scored"),
        ("parameters", f"{record.parameters:,}"),
        ("steps/s", f"{rate:.3g}" if rate else ""),
        ("memory", f"{memory / 1e6:,.0f} MB" if memory else ""),
    ]
    return element("div", definitions([(name, words) for name, words in facts if words]), class_="key-figures")


def command(record: Record) -> str:
    """The command that repeats the run. Every word is quoted for the shell."""
    if record.variant.source_sha256 is not None:
        return shlex.join(["lra", "reproduce", file_name(record), "--trust"])
    task, protocol = record.task.name, record.protocol
    bindings = [word for line in protocol.overrides for word in ("--gin", line)]
    of_task = [word for line in protocol.overrides if line.startswith(f"{task}.") for word in ("--gin", line)]
    seeds = ",".join(str(seed.seed) for seed in record.seeds) or "0"
    prepare = ["lra", "prepare", task, "--protocol", protocol.name, *of_task]
    run = ["lra", "run", "--task", task, "--variant", record.variant.name, "--protocol", protocol.name,
           "--seeds", seeds, *bindings]  # fmt: skip
    return f"{shlex.join(prepare)} && {shlex.join([*variables(record), *run])}"


def variables(record: Record) -> list[str]:
    """The words of a shell that set the settings from outside under which a run was trained."""
    try:
        settings = [line.partition(" = ") for line in environment_of(record)]
        words = [f"{name.upper()}={ast.literal_eval(value)}" for name, _, value in settings if name != "backend"]
    except (UserError, ValueError, SyntaxError):  # a configuration that cannot be read
        return []
    return ["env", *words] if words else []


def again(record: Record) -> list[Child]:
    copied = element("button", "Copy", type="button", class_="button copy", hidden=True)
    shown: list[Child] = [element("div", block(command(record), "command"), copied, class_="command")]
    if record.variant.source_sha256 is not None:
        source = "its source is below, read it" if record.variant.sources else "its source was not kept, find it"
        words: Child = ["The variant comes from outside the project: ", source, " before you run it. "]
    else:
        reproduce = element("code", shlex.join(["lra", "reproduce", file_name(record)]))
        words = [reproduce, " does it from the record alone, and compares. "]
    return [*shown, element("p", words)]


def seeds(record: Record) -> Markup:
    names = ("seed", "status", "step", "validation accuracy %", "validation loss", "test accuracy %", "test loss")
    kinds = [None if name == "status" else "number" for name in names]
    head = element("tr", [element("th", name, scope="col", class_=kind) for name, kind in zip(names, kinds)])
    table = element(
        "table",
        element("caption", f"Seeds, scored at: {record.selection}", id="seeds"),
        element("thead", head),
        element("tbody", [seed_row(seed) for seed in record.seeds]),
    )
    return frame(table, "seeds")


def seed_row(seed: SeedResult) -> Markup:
    first = element("th", str(seed.seed), scope="row", class_="number")
    numbers = [f"{seed.step:,}", *score(seed.validation), *score(seed.test)]
    return element("tr", first, element("td", seed.status),
                   [element("td", text, class_="number") for text in numbers])  # fmt: skip


def score(of: Score | None) -> tuple[str, str]:
    return (f"{100 * of.accuracy:.2f}", f"{of.loss:.4g}") if of else ("", "")


def code(value: Any) -> Markup:
    return element("code", str(value))


def listed(values: Mapping[str, Any]) -> Child:
    """Names with their values, one a line."""
    return [element("div", code(f"{name} = {value}")) for name, value in values.items()] or "none"


def settings(record: Record) -> list[tuple[str, Child]]:
    """All that decides the outcome."""
    task, variant = record.task, record.variant
    paper: Child = variant.paper
    if match := ARXIV.fullmatch(variant.paper):
        paper = element("a", f"arXiv {match[0]}", href=f"https://arxiv.org/abs/{match[0]}", rel="noreferrer")
    source: list[tuple[str, Child]] = [("Source's SHA-256", code(variant.source_sha256))]
    examples = ", ".join(f"{count:,} {split}" for split, count in as_json(task.examples).items())
    return [
        ("Task", f"{task.name} {task.version}"),
        ("Examples", f"{examples}; floor of test {100 * task.floor.test:.2f} %"),
        ("Data's parameters", listed(task.parameters)),
        ("Data's SHA-256", code(task.data_sha256)),
        ("Variant", [f"{variant.name}, version {variant.version}, ", paper]),
        *([] if variant.source_sha256 is None else source),
        ("Protocol", record.protocol.name),
        ("Bindings given by hand", [element("div", code(line)) for line in record.protocol.overrides] or "none"),
        ("Configuration's SHA-256", code(record.config_sha256)),
        *([] if record.parameter_tree_sha256 is None else [trained_state(record.parameter_tree_sha256)]),
        ("Scored at", record.selection),
        ("Predictions on test", "kept in the record" if task.test_labels else "not kept, a record of schema 1"),
    ]


def trained_state(sha256: str) -> tuple[str, Child]:
    return "Trained state's SHA-256", [code(sha256), " of names, shapes and types"]


def circumstances(record: Record) -> list[tuple[str, Child]]:
    """All that does not decide the outcome: date, hardware, speed, memory."""
    measured = record.measured
    git = measured.git or {}
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    sizes = {name: f"{size / 1e6:,.1f} MB" for name, size in measured.memory_bytes.items()}
    rate, together = steps_per_second(record), measured.steps_per_second
    of_all = f"{len(record.seeds)} seeds at {together:.4g} each"
    earlier = "; another machine trained the first steps" if measured.hardware.get("earlier") else ""
    return [
        ("Hardware", hardware_of(record) + earlier),
        ("Steps of one seed a second", f"{rate:.4g}, {of_all}" if rate else "not measured"),
        ("Time", f"{measured.train_seconds:,.1f} s training, {measured.compile_seconds:,.1f} s compiling"),
        ("Memory", listed(sizes)),
        ("Git commit", [code(git["commit"]), dirty] if git.get("commit") else "not known"),
        ("Kernels", kernels(measured.kernels)),
        ("Versions", listed(measured.versions)),
        ("Finished at", measured.finished_at),
    ]


def kernels(uses: Sequence[KernelUse] | None) -> str:
    """The implementations of the ops in the train step."""
    if uses is None:
        return "xla"
    return "; ".join(f"{use.implementation} for {use.call.split(' of ')[0]} ({use.why})" for use in uses) or "no op"
