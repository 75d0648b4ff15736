"""A page for each run: what came of it, and everything that makes it again."""

import shlex

from lra.leaderboard.board import hardware_of
from lra.leaderboard.record import Record, Score, SeedResult, file_name
from lra.leaderboard.site.lines import curves
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.page import definitions, page
from lra.leaderboard.tracks import breaches


def run_page(record: Record, sheet: str) -> str:
    """
    Args:
      sheet: the name of the table that has the run.
    """
    variant, task, protocol = record["variant"], record["task"], record["protocol"]
    title = f"{variant['name']} on {task['name']}, protocol {protocol['name']}"
    header = [
        element("p", element("a", "All results", href=f"../index.html#sheet={sheet}"), class_="back"),
        element("h1", title),
        element("p", f"Run {record['run']}: {record['status']}", f" ({record['error']})" if record["error"] else "",
                class_="lead"),
    ]  # fmt: skip
    broken = breaches(record)
    main = [
        part("Make it again", *again(record)),
        part("Not ranked", element("ul", [element("li", line) for line in broken])) if broken else None,
        part("Seeds", seeds(record)) if record["seeds"] else None,
        part("Curves", element("div", curves(record), class_="figures")) if record["curve"] else None,
        part("What was run", facts(record)),
        part("Configuration", block(record["config"], "operative gin configuration")),
        part("Source of the variant", block(variant["source"], "source")) if variant["source"] else None,
    ]
    return page(title, "../", header, element("div", main, class_="run"))


def part(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def block(content: str, name: str) -> Markup:
    return element("pre", element("code", content), tabindex="0", role="region", aria_label=name)


def command(record: Record) -> str:
    """The command that makes the run again; every word is quoted for the shell."""
    variant, protocol = record["variant"], record["protocol"]
    if variant["source_sha256"] is not None:
        return f"lra reproduce {shlex.quote(file_name(record))} --trust"
    # a protocol's stand-in is asked for by the name of the task that it is for
    task = record["task"]["name"].removeprefix("synthetic_")
    bindings = [word for line in protocol["overrides"] for word in ("--gin", line)]
    of_task = [word for line in protocol["overrides"] if line.startswith(f"{task}.") for word in ("--gin", line)]
    seeds = ",".join(str(seed["seed"]) for seed in record["seeds"]) or "0"
    prepare = ["lra", "prepare", task, "--protocol", protocol["name"], *of_task]
    run = ["lra", "run", "--task", task, "--variant", variant["name"], "--protocol", protocol["name"], "--seeds", seeds]
    return f"{shlex.join(prepare)} && {shlex.join([*run, *bindings])}"


def again(record: Record) -> list[Child]:
    copied = element("button", "Copy", type="button", class_="copy", hidden=True)
    found: list[Child] = [element("div", block(command(record), "command"), copied, class_="command")]
    commit = record["measured"]["git"]
    if commit and isinstance(commit.get("commit"), str):
        dirty = ", with files changed since" if commit.get("dirty") else ""
        found.append(element("p", "At commit ", element("code", commit["commit"]), dirty, "."))
    if record["variant"]["source_sha256"] is not None:
        found.append(
            element("p", "The variant comes from outside the project: read its source below before you run it.")
        )
    else:
        words = f"lra reproduce {shlex.quote(file_name(record))}"
        found.append(element("p", element("code", words), " does it from the record alone and compares."))
    return found


def seeds(record: Record) -> Markup:
    names = ("seed", "status", "step", "validation accuracy %", "validation loss", "test accuracy %", "test loss")
    head = element("tr", [element("th", name, scope="col", class_="number") for name in names])
    table = element(
        "table",
        element("caption", f"Scored at: {record['selection']}"),
        element("thead", head),
        element("tbody", [seed_row(seed) for seed in record["seeds"]]),
    )
    return element("div", table, class_="frame", role="region", tabindex="0", aria_label="Seeds")


def seed_row(seed: SeedResult) -> Markup:
    cells = [seed["status"], f"{seed['step']:,}", *score(seed["validation"]), *score(seed["test"])]
    first = element("th", str(seed["seed"]), scope="row", class_="number")
    return element("tr", first, [element("td", cell, class_="number") for cell in cells])


def score(found: Score | None) -> tuple[str, str]:
    return (f"{100 * found['accuracy']:.2f}", f"{found['loss']:.4f}") if found else ("", "")


def facts(record: Record) -> Markup:
    task, variant, measured = record["task"], record["variant"], record["measured"]
    code = lambda value: element("code", value)
    rate = measured["steps_per_second"]
    kept = "kept, with their hashes" if task["test_labels"] else "not kept (a record of schema 1)"
    items: list[tuple[str, Child]] = [
        ("Task", f"{task['name']} {task['version']}, floor {100 * task['floor']['test']:.2f} % on test"),
        ("Data", code(task["data_sha256"])),
        ("Data's parameters", ", ".join(f"{name} = {value}" for name, value in task["parameters"].items())),
        ("Examples", ", ".join(f"{count:,} {split}" for split, count in task["examples"].items())),
        ("Variant", f"{variant['name']}, version {variant['version']} ({variant['paper']})"),
        ("Bindings given by hand", [code(line) for line in record["protocol"]["overrides"]] or "none"),
        ("Parameters", f"{record['parameters']:,}"),
        ("Configuration", code(record["config_sha256"])),
        ("Predictions on the test split", kept),
        ("Steps a second", f"{rate:.4g}, of {len(record['seeds'])} seeds together" if rate else "not measured"),
        ("Training and compilation", f"{measured['train_seconds']:,.1f} s and {measured['compile_seconds']:,.1f} s"),
        ("Memory", ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in measured["memory_bytes"].items())),
        ("Hardware", hardware_of(record)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in measured["versions"].items())),
        ("Finished", measured["finished_at"]),
    ]
    if variant["source_sha256"]:
        items.insert(5, ("Source", code(variant["source_sha256"])))
    return definitions(items)
