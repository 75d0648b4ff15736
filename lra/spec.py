"""The spec of a run: the names with which a command, a sweep or another process requests a run."""

import dataclasses
import json
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from lra.errors import UsageError
from lra.typed import shown

FILE = "spec.json"  # in the folder of a run: its spec


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """A run by names. It is hashable and converts to JSON and back. `lra.resolve` makes a plan of it.

    >>> spec = RunSpec("listops", "local", "demo", seeds=(0, 1), overrides=("local.radius = 4",))
    >>> RunSpec.from_json(spec.to_json()) == spec
    True

    Attributes:
      seeds: the seeds that are trained together: different whole numbers from 0 to 2^32 - 1. They are sorted.
      overrides: gin bindings that override the protocol's files, e.g. "train.steps = 500".
      imports: paths of Python files that register variants.

    Raises:
      UsageError: a field has another type, or a seed is out of range or given twice.
    """

    task: str
    variant: str
    protocol: str
    seeds: tuple[int, ...] = (0,)
    overrides: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("task", "variant", "protocol"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{name} = {shown(getattr(self, name))} of a run spec is not a text")
        for name in ("overrides", "imports"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))
        object.__setattr__(self, "seeds", seeds_of(self.seeds))

    def to_json(self) -> str:
        """The spec as one JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "RunSpec":
        """The spec that `to_json` wrote.

        Raises:
          UsageError: the text is not a spec, or has fields that this version of lra does not have.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"a run spec cannot be read: {error}") from error
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or not {"task", "variant", "protocol"} <= fields.keys():
            raise UsageError("a run spec is a JSON object with task, variant and protocol")
        if others := sorted(fields.keys() - names):
            raise UsageError(f"a run spec has no {', '.join(others)}; it was written by another version of lra")
        return cls(**fields)


def texts(name: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"{name} = {shown(values)} is not a list of texts")
    return tuple(values)


def seeds_of(values: Any) -> tuple[int, ...]:
    """The seeds in ascending order, so that a run has one name however they were listed."""
    listed = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    try:
        seeds = sorted(operator.index(seed) for seed in listed if not isinstance(seed, bool))  # NumPy's numbers too
    except TypeError:
        seeds = []
    if not seeds or len(seeds) < len(listed) or seeds[0] < 0 or seeds[-1] >= 1 << 32:
        raise UsageError(f"seeds {words(listed)} are not whole numbers from 0 to 2^32 - 1")
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"seeds {words(listed)} are not different whole numbers")
    return tuple(seeds)


def words(seeds: list[Any]) -> str:
    return ",".join(map(str, seeds)) or "()"
