"""A sweep by names: every task with every variant, protocol and group of seeds. Its file is a gin file."""

import dataclasses
import itertools
import typing
from collections.abc import Sequence
from pathlib import Path

from lra import extension
from lra.configuration import Malformed, statements
from lra.errors import UsageError, UserError, unknown
from lra.files import visible
from lra.leaderboard.tracks import LEARNING_RATE
from lra.protocol import GIN
from lra.recipe import merged, protocol_named, source_of, task_named
from lra.spec import RunSpec
from lra.tasks import TASKS
from lra.typed import typed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """The names whose combinations are the cells of a sweep.

    Attributes:
      tasks: their names; ("all",) stands for all on which a protocol runs.
      variants: their names; ("all",) stands for all that are registered.
      seeds: groups of seeds; the seeds of a group train together, as one cell.
      overrides: gin bindings for all cells; those that do not concern a cell are left out of it.
    """

    tasks: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("all",)
    protocols: tuple[str, ...] = ()
    seeds: tuple[tuple[int, ...], ...] = ((0,),)
    overrides: tuple[str, ...] = ()

    def specs(self, imports: Sequence[str] = ()) -> list[RunSpec]:
        """The specs of all cells, task by task.

        Raises:
          UsageError: tasks or protocols are missing, or a name does not exist.
        """
        from lra.models.attention import VARIANTS

        if not self.tasks or not self.protocols:
            raise UsageError("a sweep has tasks and protocols, as in --tasks listops,text --protocols demo")
        extension.load_all(map(Path, imports))
        variants = sorted(VARIANTS) if self.variants == ("all",) else self.variants
        return [
            RunSpec(task, variant, protocol, seeds, overrides, tuple(imports))
            for protocol in self.protocols
            for task, variant, seeds, overrides in itertools.product(
                self.tasks_of(protocol), variants, self.seeds, self.overrides_of(protocol)
            )
        ]

    def overrides_of(self, protocol: str) -> list[tuple[str, ...]]:
        """The overrides, with each of the learning rates that the protocol lets a variant choose, if none is given."""
        rates = protocol_named(protocol).learning_rates
        if not rates or any(line.replace(" ", "").startswith(f"{LEARNING_RATE}=") for line in self.overrides):
            return [self.overrides]
        return [merged(self.overrides, (f"{LEARNING_RATE} = {rate!r}",)) for rate in rates]

    def tasks_of(self, protocol: str) -> tuple[str, ...]:
        if self.tasks != ("all",):
            return self.tasks
        own = [task for task in TASKS.values() if not task.stands_in_for]
        return tuple(task.name for task in own if source_of(task_named(task.name, protocol), protocol))


def named(name: str) -> Path:
    """The file of a sweep: one of the project's own by name, or any by its path.

    Raises:
      UsageError: there is none.
    """
    own = {path.stem: path for path in visible((GIN / "sweeps").glob("*.gin"))}
    if name in own:
        return own[name]
    if not Path(name).is_file():
        raise unknown("sweep, and no file,", name, own)
    return Path(name)


def read(path: Path) -> Grid:
    """The grid that a gin file describes, by bindings of the section `sweep`.

    Raises:
      UsageError: the file is wrong; the message names the line.
      UserError: it cannot be read.
    """
    try:
        found = statements(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error})") from error
    except Malformed as error:
        line, reason = error.args
        raise UsageError(f"{path}, line {line}: {reason}") from error
    hints, values = typing.get_type_hints(Grid), {}
    for section, parameter, value, line in found:
        try:
            if section != "sweep":
                raise UsageError(f"{section}.{parameter} is not of the section sweep; sweep.overrides has bindings")
            if parameter not in hints:
                raise unknown("parameter of sweep", parameter, hints)
            if parameter in values:
                raise UsageError(f"sweep.{parameter} is bound twice")
            values[parameter] = typed(value, hints[parameter])
        except (UsageError, ValueError) as error:
            raise UsageError(f"{path}, line {line}: {error}") from error
    return Grid(**values)


def with_overrides(grid: Grid, overrides: Sequence[str]) -> Grid:
    """The grid with more overrides, which count over its own."""
    return dataclasses.replace(grid, overrides=merged(grid.overrides, overrides))
