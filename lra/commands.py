"""What the commands do, each as a function of its options."""

import io
import itertools
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lra.errors import UsageError, UserError, unknown
from lra.files import write_atomically
from lra.leaderboard.record import Record
from lra.progress import Display
from lra.tasks import TASKS, Source, Split, Task

PROSE = ("what", "from", "train / val / test", "paper", "note")  # columns of a table that may have several lines


def tasks(options: Namespace) -> int:
    from lra.tasks.prepared import home, prepared_folders, read_manifest

    found: list[dict[str, Any]] = []
    for task in TASKS.values():
        prepared: list[dict[str, Any]] = []
        for folder in prepared_folders(task):
            size = sum(path.stat().st_size for path in folder.iterdir())
            entry: dict[str, Any] = {"folder": str(folder), "bytes": size, "error": None}
            try:
                manifest = read_manifest(folder)
            except UserError as error:
                entry["error"] = str(error)
            else:
                keys = ("origin", "examples", "max_length", "floor", "also_in_train", "warnings", "data_sha256")
                entry |= {key: manifest[key] for key in keys}
            prepared.append(entry)
        found.append(
            {"name": task.name, "version": task.version, "summary": task.summary, "classes": task.num_classes,
             "vocabulary": task.vocab_size, "citation": task.citation, "licence": task.licence, "prepared": prepared}
        )  # fmt: skip
    if options.json:
        return print_json(found)
    rows = [
        [f"{entry['name']} {entry['version']}", entry["summary"], "yes" if entry["prepared"] else "no"]
        for entry in found
    ]
    print_table(("task", "what", "prepared"), rows)
    rows = []
    for item in itertools.chain.from_iterable(entry["prepared"] for entry in found):
        name = Path(item["folder"]).name
        if item["error"]:
            rows.append([name, f"damaged: {item['error']}", "", "", ""])
            continue
        sizes = " / ".join(f"{count:,}" for count in item["examples"].values())
        rows.append([name, item["origin"], sizes, f"{item['max_length']:,}", f"{item['bytes'] / 1e6:,.1f}"])
    if rows:
        print_table(("prepared", "from", "train / val / test", "tokens", "MB"), rows)
    print(f"{'these folders are' if rows else 'nothing is prepared; what will be, is'} in {home() / 'tasks'}")
    return 0


def variants(options: Namespace) -> int:
    from lra import extension
    from lra.models.attention import VARIANTS

    for path in options.imports:
        extension.load(path)
    found: list[dict[str, Any]] = [
        {"name": variant.name, "paper": variant.paper, "cost": variant.cost, "causal": variant.causal,
         "reads_positions": variant.reads_positions, "version": variant.version}
        for variant in sorted(VARIANTS.values(), key=lambda variant: variant.name)
    ]  # fmt: skip
    if options.json:
        return print_json(found)
    yes = lambda value: "yes" if value else "no"
    rows = [
        [entry["name"], entry["cost"], yes(entry["causal"]), yes(entry["reads_positions"]), entry["paper"]]
        for entry in found
    ]
    print_table(("variant", "time", "causal", "reads positions", "paper"), rows)
    return 0


def prepare(options: Namespace) -> int:
    from lra.tasks import prepared

    task, source = configured(options)
    with Display() as display, display.bar(f"{task.name}: preparing", sum(source.sizes.values())) as bar:
        new = prepared.prepare(
            task,
            source,
            read_from=options.read_from,
            workers=options.workers,
            force=options.force,
            advance=bar.advance,
        )
    folder = prepared.folder_of(task, source)
    manifest = prepared.read_manifest(folder)
    if options.json:
        return print_json({"folder": str(folder), "new": new, "manifest": manifest})
    sizes = ", ".join(f"{count:,} {split}" for split, count in manifest["examples"].items())
    print(f"{task.name} {task.version}: {sizes} {'written to' if new else 'are already in'} {folder}")
    for split, count in manifest["also_in_train"].items():
        if count:
            print(f"note: {count:,} of the {split} examples are also in train")
    for warning in manifest["warnings"]:
        print(f"note: {warning}")
    return 0


def configured(options: Namespace) -> tuple[Task, Source]:
    """The task that a command names and the parameters of its data."""
    from lra.plan import built, configure, task_of

    if getattr(options, "workers", 1) < 1:
        raise UsageError(f"--workers {options.workers} is not at least 1")
    task = task_of(options.task, options.protocol)
    announce(options, task)
    configure(task, None, options.protocol, options.gin)
    return task, built(task.source, task.name)


def announce(options: Namespace, task: Task) -> None:
    """Says so where a protocol runs on a stand-in."""
    if task.name != options.task:
        message = f"protocol {options.protocol} does not run on {options.task} but on {task.name}, a synthetic stand-in"
        print(message, file=sys.stderr)


def show(options: Namespace) -> int:
    from lra.plan import prepare_command
    from lra.tasks.prepared import load
    from lra.tasks.task import SPLITS

    task, source = configured(options)
    if options.split not in SPLITS:
        raise unknown("split", options.split, SPLITS)
    if options.png and not task.picture:
        raise UsageError(f"--png: {task.name} is not made of images; without it, lra show prints")
    split = load(task, source, prepare_command(task, options.protocol, options.gin)).splits[options.split]
    count = options.count if options.count is not None else 40 if options.png else 3
    if count < 1 or not 0 <= options.first < len(split):
        raise UsageError(
            f"--first {options.first} --count {count}: {options.split} has {len(split):,} examples, from 0 on"
        )
    rows = range(options.first, min(options.first + count, len(split)))
    names = [f"{row}: {task.classes[split.labels[row]]}" for row in rows]
    if options.png:
        from lra.tasks.pictures import contact_sheet

        image = io.BytesIO()
        contact_sheet([split.inputs[row] for row in rows], names).save(image, "PNG")
        write_atomically(options.png, image.getvalue())
        print(f"{len(rows)} examples of {task.name} on {options.png}")
        return 0
    found = [
        {"row": row, "label": int(split.labels[row]), "class": task.classes[split.labels[row]],
         "documents": [ids[:length].tolist() for ids, length in documents(split, row)]}
        for row in rows
    ]  # fmt: skip
    if options.json:
        return print_json(found)
    for row, name in zip(rows, names):
        for index, (ids, length) in enumerate(documents(split, row)):
            part = f", document {'ab'[index]}" if task.documents > 1 else ""
            print(f"{options.split} {name}{part}, {length:,} tokens\n\n{task.show(ids[:length])}\n")
    return 0


def documents(split: Split, row: int) -> list[tuple[Any, int]]:
    """The token ids of each document of an example, and how many of them are real."""
    length = split.inputs.shape[-1]
    return list(zip(split.inputs[row].reshape(-1, length), split.lengths[row].reshape(-1).tolist()))


def export(options: Namespace) -> int:
    from lra.tasks.pathfinder import Pathfinder
    from lra.tasks.pathfinder_files import write_lra_folder

    task, source = configured(options)
    if not isinstance(source, Pathfinder):
        raise UsageError(
            f"{task.name} is not of the Pathfinder family, the only one that LRA has as a folder of images"
        )
    total = sum(source.sizes.values())
    count = total if options.count is None else options.count
    if not 1 <= count <= total:
        raise UsageError(f"--count {count}: {task.name} has 1 to {total:,} images")
    with Display() as display, display.bar(f"{task.name}: exporting", count) as bar:
        root = write_lra_folder(source, options.folder, count, options.workers, bar.advance)
    print(f"{count:,} images in {root}")
    return 0


def run(options: Namespace) -> int:
    from lra import extension
    from lra.interrupt import Interrupted, interruptible
    from lra.leaderboard import store
    from lra.models.attention import VARIANTS
    from lra.plan import make_plan, task_of
    from lra.run import execute
    from lra.tasks.prepared import load

    for path in options.imports:
        extension.load(path)
    announce(options, task_of(options.task, options.protocol))
    names = sorted(VARIANTS) if options.variant == "all" else options.variant.split(",")
    plans = [make_plan(options.task, name, options.protocol, seeds_of(options.seeds), options.gin) for name in names]
    data = load(plans[0].task, plans[0].source, plans[0].prepare_command)
    total = sum(plan.train.steps for plan in plans)
    records, failures = [], []
    with Display() as display, display.bar("all runs", total) as overall, interruptible() as stop:
        for plan in plans:
            if stop.is_set():
                raise Interrupted("stopped between two runs; the same command goes on with the next")
            found = None if options.again else store.find(options.results, plan.run_id(data.data_sha256))
            if found:
                display.say(f"{plan.variant.name}: {summary(found)} (recorded before; --again runs it again)")
                overall.skip(plan.train.steps)
                records.append(found)
                continue
            try:
                with display.bar(plan.variant.name, plan.train.steps, within=overall) as bar:
                    record = execute(
                        plan,
                        data,
                        options.results,
                        bar=bar,
                        stop=stop,
                        checkpoint_every=options.checkpoint_every,
                        anew=options.again,
                    )
            except Interrupted:
                raise
            except UserError as error:
                if len(plans) == 1:
                    raise
                display.say(f"{plan.variant.name}: {error}")
                failures.append(plan.variant.name)
                continue
            display.say(f"{plan.variant.name}: {summary(record)}")
            records.append(record)
    if options.json:
        print_json(records)
    if failures:
        raise UserError(f"{len(failures)} of {len(plans)} runs failed: {', '.join(failures)}")
    return 0


def leaderboard(options: Namespace) -> int:
    from lra.leaderboard import store, table

    records = store.load([options.results])
    if not records:
        raise UserError(f"there are no records in {store.folder_of(options.results)}; 'lra run' makes them")
    found = table.tables(records)
    pages = [options.results / "leaderboard.md", options.results / "leaderboard.csv"]
    for path, text in zip(pages, (table.markdown(found), table.as_csv(found))):
        write_atomically(path, text)
    if options.json:
        return print_json(
            [{"title": part.title, "floor": part.floor, "rows": [vars(row) for row in part.rows]} for part in found]
        )
    for part in found:
        print(f"\n{part.title}. {part.caption}")
        names = table.header(part)
        print_table(names, [table.cells(part, row)[: len(names)] for row in part.rows], numbers=True)
    print(f"written to {pages[0]} and {pages[1].name}")
    return 0


def seeds_of(text: str) -> list[int]:

    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text}: seeds are whole numbers with commas between them, e.g. 0,1,2") from None


def summary(record: Record) -> str:
    """One line on a record, for the log."""
    scores = [seed["test"]["accuracy"] for seed in record["seeds"] if seed["test"]]
    if not scores:
        return record["status"]
    lost = len(record["seeds"]) - len(scores)
    text = ", ".join(f"{100 * score:.2f}" for score in scores)
    return f"test accuracy {text} % (floor {100 * record['task']['floor']['test']:.2f} %)" + (
        f", {lost} seeds diverged" if lost else ""
    )


def print_json(value: Any) -> int:
    print(json.dumps(value, indent=1))
    return 0


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> None:
    """Prints a table; with `numbers`, all columns but the first and a last "note" are aligned to the right."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a pipe has no width to break lines for
    view = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(names):
        right = numbers and index > 0 and name != "note"
        prose = name in PROSE
        view.add_column(
            name, justify="right" if right else "left", overflow="fold", no_wrap=not prose, min_width=12 * prose
        )
    for row in rows:
        view.add_row(*map(Text, row))
    console.print(view, highlight=False)
