"""Commands on single records: to hand one in, to compare two, to make one again."""

from argparse import Namespace
from typing import TYPE_CHECKING

from lra.commands.leaderboard import shipped
from lra.commands.output import print_json
from lra.errors import UserError

if TYPE_CHECKING:
    from lra.submission import Verdict


def leaderboard_submit(options: Namespace) -> int:
    """Writes a record that may enter to a file of its own."""
    from lra.leaderboard import store
    from lra.leaderboard.record import write
    from lra.submission import verdicts

    (verdict,) = verdicts([store.locate(options.run, [options.results])], shipped())
    if verdict.reasons or verdict.record is None:
        raise UserError(f"{verdict.file} may not enter: {'; '.join(verdict.reasons)}")
    path = write(verdict.record, options.to)
    if options.json:
        return print_json({"file": str(path.resolve()), "notes": verdict.notes})
    for note in verdict.notes:
        print(f"note: {note}")
    print(f"written to {path}: the whole run, with its predictions; nothing else has to go with it")
    print("to hand it in, add it to leaderboard/results in a pull request; there it is checked again by")
    print(f"\n    lra leaderboard validate {path}")
    return 0


def leaderboard_validate(options: Namespace) -> int:
    """Says of each file whether it may enter; exit code 1 if one may not."""
    from lra.submission import verdicts

    found = verdicts(options.files, shipped())
    print_json([as_json(verdict) for verdict in found]) if options.json else print_verdicts(found)
    refused = [str(verdict.file) for verdict in found if verdict.reasons]
    if refused:
        raise UserError(f"{len(refused)} of {len(found)} may not enter: {', '.join(refused)}")
    return 0


def as_json(verdict: "Verdict") -> dict:
    return {
        "file": str(verdict.file),
        "run": verdict.record["run"] if verdict.record else None,
        "enters": not verdict.reasons,
        "reasons": verdict.reasons,
        "notes": verdict.notes,
    }


def print_verdicts(found: "list[Verdict]") -> None:
    for verdict in found:
        print(f"{verdict.file}: {'may not enter' if verdict.reasons else 'may enter'}")
        for reason in verdict.reasons:
            print(f"  {reason}")
        for note in verdict.notes:
            print(f"  note: {note}")
