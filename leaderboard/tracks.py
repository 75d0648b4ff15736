"""Tracks: what a run must have kept to, to stand in the ranking of its protocol. Held to by code, not by trust."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

from lra.leaderboard.record import Record

FIVE = ("listops", "text", "retrieval", "image", "pathfinder")  # of the literature's older average
SIX = (*FIVE, "pathx")
RECIPE = (
    "train",
    "encoder",
    "pair",
    "adamw",
    "rsqrt",
    "cosine",
)  # what a configuration may set beside task and variant


@dataclasses.dataclass(frozen=True)
class Track:
    """The rules of a protocol.

    Attributes:
      rules: in words.
      transformer: parameters of the Transformer on each task; a row has at most 10 % more (LRA, appendix C). Empty
        where a protocol has no such rule.
      select: how the scored step is chosen, and what it is called in a record.
    """

    name: str
    rules: str
    transformer: Mapping[str, int]
    select: str
    selection: str


BUDGET = 0.10
TRACKS = {
    track.name: track
    for track in (
        Track(
            "paper",
            "LRA's published configurations. At most 10 % more parameters than the Transformer, no pretraining, "
            "nothing changed but the variant's own parameters, the last step is scored.",
            {
                "listops": 8_948_746, "text": 3_486_722, "retrieval": 1_087_618, "image": 248_458,
                "pathfinder": 26_530, "pathx": 537_954, "pathfinder64": 153_186, "pathx256": 2_119_266,
            },
            "last",
            "last step",
        ),
        Track(
            "demo",
            "Minutes on two cores, on small data: to try things, and compared with nothing else. No pretraining, "
            "the step with the best validation accuracy is scored.",
            {},
            "best",
            "best validation accuracy",
        ),
    )
}  # fmt: skip


def settings(record: Record) -> dict[str, str]:
    """The bindings of a record's configuration; a value that goes over several lines is joined."""
    joined = record["config"].replace("\\\n", " ")
    found = re.findall(r"^([\w./]+) =((?:.*)(?:\n[ )\]}].*)*)", joined, re.M)
    return {name: " ".join(value.split()) for name, value in found}


def breaches(record: Record) -> list[str]:
    """Which of its track's rules a run has not kept to, in words; empty if it may be ranked."""
    track = TRACKS.get(record["protocol"]["name"])
    if track is None:
        return [f"protocol '{record['protocol']['name']}' is no track"]
    return [*broken(record, track)]


def broken(record: Record, track: Track) -> Iterator[str]:
    task, variant = record["task"]["name"], record["variant"]["name"]
    config = settings(record)
    if base := track.transformer.get(task):
        excess = record["parameters"] / base - 1
        if excess > BUDGET:
            yield f"{excess:.0%} more parameters than the Transformer ({BUDGET:.0%} allowed)"
    if others := [line for line in record["protocol"]["overrides"] if not line.startswith(f"{variant}.")]:
        yield f"changes the protocol ({', '.join(others)})"
    if unknown := sorted({name.rpartition(".")[0] for name in config} - {*RECIPE, task, variant}):
        yield f"sets what the protocol does not have ({', '.join(unknown)})"
    select = "last" if not record["task"]["examples"]["validation"] else track.select
    selection = track.selection if select == track.select else "last step"
    if record["selection"] != selection or config.get("train.select") != repr(select):
        yield f"scores by {record['selection']}, the track by {selection}"
    elif wrong := [seed for place, seed in enumerate(record["seeds"]) if not selected(record, place, select, config)]:
        yield f"the scored step of seed {', '.join(str(seed['seed']) for seed in wrong)} is not the {selection}"


def selected(record: Record, place: int, select: str, config: Mapping[str, str]) -> bool:
    """Whether the step that a seed was scored at is the one that the rule gives, by the run's own curve."""
    seed = record["seeds"][place]
    if seed["status"] != "ok":
        return True
    if select == "last":
        return config.get("train.steps") == str(seed["step"])
    lines = [line for line in record["curve"] if line["split"] == "validation"]
    found = {line["step"]: line["accuracy"][place] for line in lines}
    best = max((value for value in found.values() if value is not None), default=None)
    own = found.get(seed["step"])
    # accuracies are compared on the device in float32
    return own is not None and best is not None and math.isclose(own, best, rel_tol=1e-6)
