"""The commands on the data of tasks: `lra tasks`, `lra prepare`, `lra show`, `lra export`."""

import io
import itertools
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.commands.command import Parser, add_bindings, add_imports, add_workers, command
from lra.commands.output import print_json, print_table, warn
from lra.errors import UsageError, UserError, unknown
from lra.files import write_atomically

if TYPE_CHECKING:
    from lra.tasks import Source, Split, Task


def add_task(parser: Parser) -> None:
    parser.add_argument("task", metavar="TASK", help="the name of a task; 'lra tasks' lists them")


def add_protocol(parser: Parser) -> None:
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="take the sizes of this protocol, which its runs need (default: the task's own)",
    )


def add_one_task(parser: Parser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="show the parameters of this task's data, with defaults and meaning"
    )


@command(
    "tasks",
    "List the tasks and what of them is prepared, or show the parameters of one.",
    add_imports,
    add_one_task,
    examples=("", "listops"),
)
def tasks(options: Namespace) -> int:
    from lra.recipe import protocols_of
    from lra.tasks import TASKS
    from lra.tasks.prepared import home, prepared_folders, read_manifest
    from lra.tasks.task import fields_of

    load_tasks(options)
    if options.name is not None:
        from lra.commands.parameters import show_parameters
        from lra.recipe import task_named

        task = task_named(options.name, None)
        return show_parameters(task.name, f"{task.name} {task.version}: {task.summary}", options.json)
    folders: dict[str, list[Path]] | None = None
    try:
        folders = {task.name: prepared_folders(task) for task in TASKS.values()}
    except UserError as error:  # the tasks are there, whether or not their folders can be read
        warn(str(error))
    described: list[dict[str, Any]] = []
    for task in TASKS.values():
        prepared: list[dict[str, Any]] = []
        for folder in folders[task.name] if folders else ():
            size = sum(path.stat().st_size for path in folder.iterdir())
            entry: dict[str, Any] = {"folder": str(folder), "bytes": size, "error": None, "protocols": []}
            try:
                manifest = read_manifest(folder)
            except UserError as error:
                entry["error"] = str(error)
            else:
                keys = ("origin", "examples", "max_length", "floor", "also_in_train", "warnings", "data_sha256")
                entry |= {key: manifest[key] for key in keys}
                of_protocols = {name: fields_of(source) for name, source in protocols_of(task).items()}
                entry["protocols"] = [name for name, own in of_protocols.items() if own == manifest["parameters"]]
            prepared.append(entry)
        described.append(
            {"name": task.name, "version": task.version, "summary": task.summary, "classes": task.num_classes,
             "vocabulary": task.vocab_size, "citation": task.citation, "licence": task.licence, "prepared": prepared}
        )  # fmt: skip
    if options.json:
        return print_json(described)
    no = "no" if folders else "?"
    rows = [
        [f"{entry['name']} {entry['version']}", entry["summary"], "yes" if entry["prepared"] else no]
        for entry in described
    ]
    print_table(("task", "what", "prepared"), rows)
    rows = []
    for item in itertools.chain.from_iterable(entry["prepared"] for entry in described):
        name = Path(item["folder"]).name
        if item["error"]:
            rows.append([name, item["error"], "", "", "", ""])
            continue
        sizes = " / ".join(f"{count:,}" for count in item["examples"].values())
        serves = ", ".join(item["protocols"]) or "none"
        rows.append([name, serves, item["origin"], sizes, f"{item['max_length']:,}", f"{item['bytes'] / 1e6:,.1f}"])
    if rows:
        print_table(("prepared", "for protocol", "from", "train / val / test", "tokens", "MB"), rows)
    if folders:
        print(f"{'these folders are' if rows else 'nothing is prepared; what will be, is'} in {home() / 'tasks'}")
    return 0


def add_task_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the name of the task; its file is NAME.py")


@command("new-task", "Write a file with a task to begin with.", add_task_name, examples=("my_task",))
def new_task(options: Namespace) -> int:
    from lra import template
    from lra.commands.attention import free_file
    from lra.models.attention import VARIANTS
    from lra.tasks import TASKS, outside

    outside.load_installed()
    if options.name in TASKS:
        raise UsageError(f"a task called '{options.name}' is there already; choose another name")
    if options.name in VARIANTS:
        raise UsageError(f"'{options.name}' is an attention variant; choose another name for a task")
    path = free_file(options.name, "task")
    write_atomically(path, template.task(options.name))
    if options.json:
        return print_json({"task": options.name, "file": str(path.resolve())})
    print(f"written to {path}; next:\n\n    lra prepare --import {path} {options.name} --protocol demo")
    print(f"    lra show --import {path} {options.name} --protocol demo")
    print(f"    lra run --import {path} --task {options.name} --variant transformer --protocol demo --seeds 0,1,2")
    print("    lra leaderboard build")
    return 0


def add_preparation(parser: Parser) -> None:
    parser.add_argument(
        "--from",
        dest="read_from",
        type=Path,
        metavar="PATH",
        help="read the publisher's files: a folder, or the archive as downloaded (default: generate, or ask TFDS)",
    )
    add_workers(parser, "; the examples do not depend on it")
    parser.add_argument("--force", action="store_true", help="replace what is prepared")


@command(
    "prepare",
    "Write a task's examples to disk, once, for training.",
    add_bindings,
    add_imports,
    add_task,
    add_protocol,
    add_preparation,
    examples=("listops --protocol demo", "text --protocol paper --from aclImdb_v1.tar.gz"),
)
def prepare(options: Namespace) -> int:
    from lra.progress import Display
    from lra.recipe import protocols_of
    from lra.tasks import prepared

    task, source = configured(options)
    of_protocols = protocols_of(task)
    serves = [name for name, own in of_protocols.items() if own == source]
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
        return print_json({"folder": str(folder), "new": new, "protocols": serves, "manifest": manifest})
    sizes = ", ".join(f"{count:,} {split}" for split, count in manifest["examples"].items())
    print(f"{task.name} {task.version}: {sizes} {'written to' if new else 'are already in'} {folder}")
    if serves:
        print(f"for runs of protocol {' and '.join(serves)}")
    elif options.protocol is None:
        print(f"note: no protocol has these sizes; {others(options, of_protocols)}")
    for split, count in manifest["also_in_train"].items():
        if count:
            print(f"note: {count:,} of the {split} examples are also in train")
    for warning in manifest["warnings"]:
        print(f"note: {warning}")
    return 0


def others(options: Namespace, protocols: Iterable[str]) -> str:
    """The commands that prepare a task for runs, in words."""
    files = f" --from {shlex.quote(str(options.read_from))}" if options.read_from else ""
    commands = [f"lra prepare {options.task} --protocol {name}{files}" for name in protocols]
    return f"for its runs: {' or '.join(commands)}" if commands else "it has no recipe for a run"


def configured(options: Namespace) -> "tuple[Task, Source]":
    """The task that the options name, and the parameters of its data."""
    from lra.recipe import task_and_source

    load_tasks(options)
    if getattr(options, "workers", 1) < 1:
        raise UsageError(f"--workers {options.workers} is not at least 1")
    task, source = task_and_source(options.task, options.protocol, options.gin)
    announce(options, task)
    return task, source


def load_tasks(options: Namespace) -> None:
    """Loads the tasks of packages and of `--import`. JAX is imported only if there is a file, which may need it."""
    from lra.tasks import outside

    outside.load_installed()
    if getattr(options, "imports", []):
        from lra import extension

        extension.load_all(options.imports)


def announce(options: Namespace, task: "Task") -> None:
    """Prints a note on standard error if the protocol replaces the task by a stand-in."""
    if task.name != options.task:
        message = f"protocol {options.protocol} does not run on {options.task} but on {task.name}, a synthetic stand-in"
        print(message, file=sys.stderr)


def add_selection(parser: Parser) -> None:
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="train, validation or test (default: %(default)s)"
    )
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="the position of the first example (default: %(default)s)"
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="the number of examples (default: 3, on a contact sheet 40)"
    )
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw a contact sheet of images with their labels")


@command(
    "show",
    "Print examples of a prepared task as a person reads them.",
    add_bindings,
    add_imports,
    add_task,
    add_protocol,
    add_selection,
    examples=("listops --protocol demo", "pathfinder --protocol paper --split test --png pathfinder.png"),
)
def show(options: Namespace) -> int:
    from lra.plan import prepare_command
    from lra.recipe import protocols_of
    from lra.tasks.prepared import folder_of, load
    from lra.tasks.task import SPLITS, is_default

    task, source = configured(options)
    if options.split not in SPLITS:
        raise unknown("split", options.split, SPLITS)
    if options.png and not task.picture:
        raise UsageError(f"--png: {task.name} is not made of images; without it, lra show prints")
    unnamed = options.protocol is None and is_default(source) and not folder_of(task, source).is_dir()
    if unnamed and (of_protocols := protocols_of(task)):
        command = f"lra show {options.task} --protocol {next(iter(of_protocols))}"
        raise UserError(f"{task.name} is not prepared in its own sizes; name a protocol, as in '{command}'")
    how = prepare_command(task, options.protocol, options.gin, options.imports)
    split = load(task, source, how).splits[options.split]
    count = options.count if options.count is not None else 40 if options.png else 3
    if count < 1 or not 0 <= options.first < len(split):
        raise UsageError(
            f"--first {options.first} --count {count}: {options.split} has {len(split):,} examples, from 0 on"
        )
    rows = range(options.first, min(options.first + count, len(split)))
    of_rows = [classes_of(task, split, row) for row in rows]
    names = [f"{row}: {' '.join(one or '.' for one in classes)}" for row, classes in zip(rows, of_rows)]
    if options.png:
        from lra.tasks.pictures import contact_sheet

        image = io.BytesIO()
        contact_sheet([split.inputs[row] for row in rows], names).save(image, "PNG")
        write_atomically(options.png, image.getvalue())
        print(f"{len(rows)} examples of {task.name} on {options.png}")
        return 0
    shown = [
        {"row": row, "label": split.labels[row].tolist(), "class": classes if task.per_token else classes[0],
         "documents": [ids[:length].tolist() for ids, length in documents(split, row)]}
        for row, classes in zip(rows, of_rows)
    ]  # fmt: skip
    if options.json:
        return print_json(shown)
    for row, name in zip(rows, names):
        for index, (ids, length) in enumerate(documents(split, row)):
            part = f", document {'ab'[index]}" if task.documents > 1 else ""
            print(f"{options.split} {name}{part}, {length:,} tokens\n\n{task.show(ids[:length])}\n")
    return 0


def classes_of(task: "Task", split: "Split", row: int) -> list[str | None]:
    """The class of an example, or of each of its tokens; None of a token without a label."""
    labels = split.labels[row].reshape(-1).tolist()
    count = int(split.lengths[row]) if task.per_token else 1
    return [None if label < 0 else task.classes[label] for label in labels[:count]]


def documents(split: "Split", row: int) -> list[tuple[Any, int]]:
    """The token ids of each document of an example, and its length without padding."""
    length = split.inputs.shape[-1]
    return list(zip(split.inputs[row].reshape(-1, length), split.lengths[row].reshape(-1).tolist()))


def add_folder(parser: Parser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to write")
    parser.add_argument("--count", type=int, metavar="N", help="write only the first N images (default: all)")


@command(
    "export",
    "Write Pathfinder's images as LRA does: a folder of PNGs, for other programs.",
    add_bindings,
    add_task,
    add_folder,
    add_protocol,
    add_workers,
    examples=("pathfinder pathfinder-images --protocol paper --count 1000",),
)
def export(options: Namespace) -> int:
    from lra.progress import Display
    from lra.tasks.pathfinder import Pathfinder
    from lra.tasks.pathfinder.files import write_lra_folder

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
