"""Editions: of several sources or versions of one variant, one is the present one and the others are superseded."""

import dataclasses
from collections.abc import Sequence

from lra.leaderboard.row import Row
from lra.leaderboard.sweeps import minute


def editions(rows: Sequence[Row]) -> list[Row]:
    """The rows, in which the newest source or version of each variant takes the place of the older ones.

    Of the project's own variants the version decides, of others the time of the last run. A run that failed replaces
    nothing.
    """
    finished = lambda row: max(record.measured.finished_at for record in row.records)
    age = lambda row: (row.seeds > 0, 0 if row.key[2] else int(row.key[1]), finished(row), row.key)
    newest = {(row.key[0], bool(row.key[2])): row for row in sorted(rows, key=age)}
    made = []
    for row in rows:
        present = newest[row.key[0], bool(row.key[2])]
        if row.key[1:3] == present.key[1:3]:
            made.append(row)
            continue
        if source := row.key[2]:
            words = f"source of {minute(finished(row))}, {source[:6]}"
            runs = " and ".join(f"'lra runs --put-away {record.run}'" for record in row.records)
            kind = "an older source" if finished(row) < finished(present) else "a newer source, whose run failed"
            why = f"{kind}; the present one is of {minute(finished(present))}, {present.key[2][:6]}; {runs}"
            why += " puts it away"
        else:
            words, why = f"version {row.key[1]}", f"an older version; the present one is {present.key[1]}"
        label = f"{row.label} ({words})"
        made.append(dataclasses.replace(row, label=label, superseded=why, breaches=(*row.breaches, why)))
    return made
