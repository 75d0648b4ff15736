"""Which bindings a task, a variant and a protocol have: the protocol's files, and over them what is given by hand.

The later of these counts more:

    gin/protocols/PROTOCOL.gin
    gin/protocols/PROTOCOL/TASK.gin
    gin/protocols/PROTOCOL/TASK/VARIANT.gin, where there is one
    the overrides of a run spec, `--gin`

What none of them sets has the default of its dataclass, or of the variant's signature.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.configuration import Binding, Bindings, build, layered, once, parse, parse_override
from lra.errors import UsageError, UserError, unknown
from lra.protocol import GIN, Protocol
from lra.sections import SECTIONS, section_named
from lra.spec import texts
from lra.tasks import TASKS, Source, Task

if TYPE_CHECKING:
    from lra.models.attention import Variant


def protocols() -> list[str]:
    """The names of all protocols."""
    return sorted(path.stem for path in (GIN / "protocols").glob("*.gin"))


def protocol_named(name: str) -> Protocol:
    """The rules of a protocol.

    Raises:
      UsageError: there is none of that name.
    """
    return build("protocol", layered(read(file_of(name), "protocol", section="protocol")))


def file_of(protocol: str) -> Path:
    """A protocol's own file."""
    if protocol not in protocols():
        raise unknown("protocol", protocol, protocols())
    return GIN / "protocols" / f"{protocol}.gin"


def task_named(name: str, protocol: str | None) -> Task:
    """The task of that name, or the stand-in on which a protocol has it run, a task of its own.

    Raises:
      UsageError: there is no such task or protocol.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    if protocol and protocol_named(protocol).stand_ins:
        return next((task for task in TASKS.values() if task.stands_in_for == name), TASKS[name])
    return TASKS[name]


def variant_named(name: str) -> "Variant":
    """The variant of that name.

    Raises:
      UsageError: there is none, or a configuration could not tell its name from a section's or a task's.
    """
    from lra.models.attention import VARIANTS

    if name not in VARIANTS:
        raise unknown("variant", name, VARIANTS)
    if name == "all" or name in SECTIONS or name in TASKS:
        raise UsageError(f"variant '{name}' ({VARIANTS[name].where}): this name means something else; choose another")
    return VARIANTS[name]


def bindings_of(task: Task, variant: str | None, protocol: str | None, overrides: Iterable[Binding]) -> Bindings:
    """The bindings of a task, with those of a variant and a protocol if they are named.

    Raises:
      UsageError: the protocol has no file for the task, or one of its files is wrong; names file and line.
    """
    layers: list[Iterable[Binding]] = []
    if protocol:
        folder = GIN / "protocols" / protocol
        recipe = folder / f"{task.name}.gin"
        layers.append(read(file_of(protocol), "protocol"))
        if not recipe.is_file():
            raise UsageError(f"protocol '{protocol}' has no recipe for {task.name} ({recipe} is not there)")
        layers.append(read(recipe))
        own = folder / task.name / f"{variant}.gin"
        if variant and own.is_file():
            layers.append(read(own))
    return layered(*layers, overrides)


def read(path: Path, who: str = "recipe", section: str | None = None) -> list[Binding]:
    """The bindings of a gin file of the project, of one section or of all."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error})") from error
    bindings = parse(text, str(path), section)
    admit(bindings, who)
    return bindings


def parsed(overrides: Sequence[str]) -> list[Binding]:
    """The bindings that were given by hand.

    Raises:
      UsageError: one is not valid, bound twice, or a rule of a protocol.
    """
    bindings = once(map(parse_override, texts("overrides", overrides)))
    admit(bindings, "hand")
    return bindings


def merged(*groups: Sequence[str]) -> tuple[str, ...]:
    """Bindings of several groups as one list of overrides; of one parameter the last group's counts.

    Raises:
      UsageError: as `parsed`, of each group by itself.
    """
    return tuple(map(str, layered(*map(parsed, groups)).values()))


def admit(bindings: Iterable[Binding], who: str) -> None:
    """Raises UsageError if a binding is of a section that may not be set there."""
    for binding in bindings:
        if section_named(binding.section).set_by not in ("anyone", who):
            raise UsageError(
                f"{binding.where}: {binding.section} holds the rules of a protocol, which its own file alone sets"
            )


def set_by_protocols(section: str) -> dict[str, dict[str, Any]]:
    """What the protocols' files set of a section: of each parameter the values, by file as in "demo/listops"."""
    values: dict[str, dict[str, Any]] = {}
    for path in sorted((GIN / "protocols").rglob("*.gin")):
        for binding in read(path, "protocol"):
            if binding.section == section:
                name = str(path.relative_to(GIN / "protocols").with_suffix(""))
                values.setdefault(binding.parameter, {})[name] = binding.value
    return values


def source_of(task: Task, bindings: Bindings) -> Source:
    """The parameters of a task's data."""
    return build(task.name, bindings)


def task_and_source(name: str, protocol: str | None, overrides: Sequence[str]) -> tuple[Task, Source]:
    """A task and the parameters of its data, as a protocol has them, or else with its own defaults.

    Raises:
      UsageError: a name or a binding that does not exist.
    """
    task = task_named(name, protocol)
    return task, source_of(task, bindings_of(task, None, protocol, parsed(overrides)))
