"""A cell as it travels to the process that trains it."""

import dataclasses
import json
from typing import Any

from lra.spec import RunSpec


@dataclasses.dataclass(frozen=True)
class Job:
    """A cell as it travels to the process that trains it.

    Attributes:
      run: the run that the process must find the spec to be.
      results: the results folder, an absolute path or a URL.
      sources: the text by path of a variant from outside, in case the machine lacks its file; empty for others. The
        first file registers it.
      kernels, checkpoint_every: as for `execute`.
    """

    run: str
    spec: RunSpec
    results: str
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    kernels: str = "auto"
    checkpoint_every: float = 30.0

    def to_json(self) -> str:
        """The job as one line of JSON."""
        return json.dumps(dataclasses.asdict(self) | {"spec": self.spec.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields | {"spec": RunSpec.from_json(fields["spec"])})
