"""The command `lra kernels`, which lists and proves implementations of the ops on the device at hand."""

import itertools
import json
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.commands.command import Parser, add_bindings, add_imports, command
from lra.commands.output import print_json, print_table
from lra.errors import UsageError

if TYPE_CHECKING:
    from lra.plan import Plan
    from lra.proof.verdict import Proof

HEADER = ("what", "implementation", "ms", "speed", "note")


def add_proof(parser: Parser) -> None:
    parser.add_argument("--prove", action="store_true", help="prove the ops of runs now, ahead of the runs")
    parser.add_argument("--protocol", default="paper", metavar="NAME", help="whose sizes (default: %(default)s)")
    parser.add_argument(
        "--task", default="all", metavar="NAME[,NAME...]", help="the tasks of the runs (default: %(default)s)"
    )
    parser.add_argument(
        "--variant", default="all", metavar="NAME[,NAME...]", help="the variants of the runs (default: %(default)s)"
    )
    parser.add_argument("--seeds", default="0", metavar="N[,N...]", help="the seeds of the runs (default: %(default)s)")
    parser.add_argument("--minutes", type=float, metavar="N", help="end the proof after N minutes (default: no limit)")
    parser.add_argument("--again", action="store_true", help="prove also what was proven before")
    parser.add_argument("--results", type=Path, metavar="DIR", help="also write what was found to DIR/kernels.json")


@command(
    "kernels",
    "List which implementations of the ops are proven on this device, or prove those that runs would call.",
    add_bindings,
    add_imports,
    add_proof,
    examples=("", "--prove --task listops --variant transformer,local --protocol demo"),
)
def kernels(options: Namespace) -> int:
    from lra import settings
    from lra.files import check_writable, write_atomically
    from lra.proof import store
    from lra.proof.verdict import as_json

    settings.require()
    path = options.results and options.results / "kernels.json"
    if path:
        check_writable(path)
    facts = store.machine()
    problems: list[str] = []

    def content() -> dict[str, Any]:
        proofs = [as_json(proof) for proof in store.load(facts).values()]
        return {"machine": facts, "proofs": proofs, "not_proven": problems}

    def write() -> None:
        if path:
            write_atomically(path, json.dumps(content(), indent=1) + "\n")

    found: dict[str, Proof] = {}
    if options.prove:
        end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
        for proofs, problem in proofs_of(plans(options), options.again, end, options.json):
            found |= {proof.words: proof for proof in proofs if proof.verdicts or proof.not_tried}
            problems += [problem] if problem else []
            write()
    else:
        found = {proof.words: proof for proof in store.load(facts).values()}
        write()
    if options.json:
        return print_json(content())
    if found:
        print_table(HEADER, rows(found.values()), numbers=True)
        print("ms: output and gradients; speed: that of xla is 1; the first of an op is what a run takes")
    else:
        print("nothing is proven on this machine; a run proves what it calls, and 'lra kernels --prove' ahead of it")
    print(f"{facts['device']}, {facts['driver']}; {store.path_of(facts)}")
    for problem in problems:
        print(f"not proven: {problem}")
    return 0


def plans(options: Namespace) -> "Iterator[Plan]":
    """The plans of the runs that the options name. Those that do not exist under the protocol are left out of 'all'."""
    from lra import extension
    from lra.commands.training import seeds_of
    from lra.models.attention import VARIANTS
    from lra.plan import untraced
    from lra.spec import RunSpec
    from lra.tasks import TASKS

    extension.load_all(options.imports)
    tasks = list(TASKS) if options.task == "all" else options.task.split(",")
    variants = sorted(VARIANTS) if options.variant == "all" else options.variant.split(",")
    imports = tuple(map(str, options.imports))
    for task in tasks:
        for variant in variants:
            try:
                spec = RunSpec(task, variant, options.protocol, seeds_of(options.seeds), tuple(options.gin), imports)
                yield untraced(spec)
            except UsageError:
                if options.task != "all":
                    raise


def proofs_of(plans: "Iterable[Plan]", again: bool, end: float, quiet: bool) -> "Iterator[tuple[list[Proof], str]]":
    """The proofs of the ops of all plans, task by task, and why some are missing.

    Args:
      end: when to stop, on the monotonic clock.
    """
    from lra.proof.choice import calls_of, proven

    say = (lambda text: None) if quiet else (lambda text: print(text, flush=True))
    seen: set[str] = set()
    for _, some in itertools.groupby(plans, key=lambda plan: plan.task.name):
        calls = {call.key: call for plan in some for call in calls_of(plan, [plan.source.max_length])}
        new = [call for key, call in calls.items() if key not in seen]
        seen |= calls.keys()
        if time.monotonic() > end:
            yield [], "the time was over before all runs"
            return
        proofs, problem = proven(new, say, end - time.monotonic(), again)
        yield [proof for proof in proofs if proof], problem


def rows(proofs: "Iterable[Proof]") -> Iterator[Sequence[str]]:
    """A row for each implementation of each op; the one that is taken comes first."""
    for proof in proofs:
        xla = next((verdict.seconds for verdict in proof.verdicts if verdict.implementation == "xla"), float("nan"))
        order = sorted(proof.verdicts, key=lambda verdict: (verdict.implementation != proof.chosen, verdict.seconds))
        words = proof.words
        for verdict in order:
            numbers = ("", "")
            if verdict.times:
                numbers = (f"{1e3 * verdict.seconds:.3g}", f"{xla / verdict.seconds:.2f}")
            yield words, verdict.implementation, *numbers, verdict.reason
            words = ""
        for name, reason in proof.not_tried:
            yield words, name, "", "", f"not tried: {reason}"
            words = ""
