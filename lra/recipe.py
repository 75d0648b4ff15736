"""The bindings of a run: those of the protocol's files, and over them those given by hand.

If several of these set a parameter, the last one counts:

    gin/protocols/PROTOCOL.gin
    gin/protocols/PROTOCOL/TASK.gin; for a task from outside its recipe for the protocol
    gin/protocols/PROTOCOL/TASK/VARIANT.gin, if there is one; for a variant from outside, protocols/PROTOCOL/TASK/
      VARIANT.gin beside the file that registers it
    the overrides of a run spec, `--gin`

A parameter that none of them sets has the default of its dataclass, or of the variant's signature.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lra.configuration import Binding, Bindings, build, layered, once, parse, parse_override
from lra.errors import UsageError, UserError, unknown
from lra.files import visible
from lra.names import is_name
from lra.protocol import GIN, Protocol
from lra.sections import SECTIONS, section_named
from lra.spec import texts
from lra.tasks import TASKS, Source, Task, outside

if TYPE_CHECKING:
    from lra.models.attention import Variant
    from lra.models.source import Sizes


class Recipe(NamedTuple):
    """A text with gin bindings of a protocol, and where it is."""

    where: str
    text: str


Values = Mapping[tuple[str, str], Any]  # by section and parameter


def protocols() -> list[str]:
    """The names of all protocols."""
    return [path.stem for path in visible((GIN / "protocols").glob("*.gin")) if is_name(path.stem)]


def protocol_named(name: str) -> Protocol:
    """The rules of a protocol.

    Raises:
      UsageError: there is no such protocol.
    """
    return build("protocol", layered(read(recipe_in(file_of(name)), "protocol", section="protocol")))


def file_of(protocol: str) -> Path:
    """The file with the rules of a protocol."""
    if protocol not in protocols():
        raise unknown("protocol", protocol, protocols())
    return GIN / "protocols" / f"{protocol}.gin"


def task_named(name: str, protocol: str | None) -> Task:
    """The task of that name, or its synthetic stand-in if the protocol runs on stand-ins.

    Raises:
      UsageError: there is no such task or protocol.
    """
    outside.load_installed()
    if name not in TASKS:
        raise UsageError(f"{unknown('task', name, TASKS)} (--import FILE loads one of your own)")
    if name == "all" or name in SECTIONS:
        where = f" ({TASKS[name].place})" if TASKS[name].place else ""
        raise UsageError(f"task '{name}'{where}: this name means something else; choose another")
    if protocol and protocol_named(protocol).stand_ins:
        return next((task for task in TASKS.values() if task.stands_in_for == name), TASKS[name])
    return TASKS[name]


def variant_named(name: str) -> "Variant":
    """The variant of that name.

    Raises:
      UsageError: there is none, or a configuration could not tell its name from a section's or a task's.
    """
    from lra.models.attention import VARIANTS
    from lra.models.attention.elsewhere import unknown_variant

    if name not in VARIANTS:
        raise unknown_variant(name, VARIANTS)
    if name == "all" or name in SECTIONS or name in TASKS:
        raise UsageError(f"variant '{name}' ({VARIANTS[name].where}): this name means something else; choose another")
    return VARIANTS[name]


def bindings_of(task: Task, variant: str | None, protocol: str | None, overrides: Iterable[Binding]) -> Bindings:
    """All bindings of a run, or of preparing a task.

    Args:
      variant: None if there is none: no VARIANT.gin is read then.
      protocol: None if there is none: only the overrides count then.
      overrides: the bindings given by hand.

    Raises:
      UsageError: the protocol has no file for the task, or one of its files or of the variant's is wrong; the message
        names file and line.
    """
    if protocol is None:
        return layered(overrides)
    first, *recipes = recipes_of(task.name, variant, protocol)
    files = layered(read(first, "protocol"), *map(read, recipes))
    return layered(files.values(), own_sizes(variant, task.name, protocol, files) if variant else (), overrides)


def recipes_of(task: str, variant: str | None, protocol: str) -> list[Recipe]:
    """The texts of a protocol that count for a task and a variant. If several set a parameter, the last one counts.

    Raises:
      UsageError: there is no such protocol, or it has no recipe for the task.
      UserError: a file cannot be read.
    """
    first, folder = file_of(protocol), GIN / "protocols" / protocol
    own, place = (TASKS[task].recipes, TASKS[task].place) if task in TASKS else ({}, None)
    if protocol in own:
        return [recipe_in(first), Recipe(f"the recipe of {task} for {protocol}", own[protocol])]
    second, third = folder / f"{task}.gin", folder / task / f"{variant}.gin"
    if not second.is_file():
        others = [*own] or [name for name in protocols() if (GIN / "protocols" / name / f"{task}.gin").is_file()]
        has = f"has recipes for {', '.join(others)}" if others else f"has none; give it recipes = {{'{protocol}': ...}}"
        where = f"it {has} at {place}" if place else f"it {has}"
        raise UsageError(f"protocol '{protocol}' has no recipe for {task} ({where})")
    return [recipe_in(path) for path in (first, second, *([third] if variant and third.is_file() else []))]


def recipe_in(path: Path) -> Recipe:
    """The text of a file.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return Recipe(str(path), path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error})") from error


def own_sizes(variant: str, task: str, protocol: str, below: Bindings) -> list[Binding]:
    """The bindings of the file with a variant's own sizes for a task, which lies beside a variant from outside.

    Args:
      below: the bindings of the protocol's files.

    Raises:
      UsageError: a file with sizes of the variant is not in its place, cannot be read, or sets what it may not; the
        message names file and line.
    """
    bindings: list[Binding] = []
    for sizes in sizes_of(variant):
        if len(sizes.folders) != 2 or sizes.text is None:
            reason = "it cannot be read" if sizes.text is None else "its place is protocols/PROTOCOL/TASK/"
            raise UsageError(f"{sizes.file}: these sizes of variant '{variant}' count for nothing; {reason}")
        try:
            recipes_of(sizes.folders[1], None, sizes.folders[0])
        except UsageError as error:
            raise UsageError(f"{sizes.file}: {error}") from error
        if sizes.folders == (protocol, task):
            bindings = parse(sizes.text, sizes.file)
    rules, values = protocol_named(protocol), {key: binding.value for key, binding in below.items()}
    for binding in bindings:
        if not may_set(binding.key, binding.value, variant, rules, values):
            smaller = f", and make {', '.join(rules.may_narrow)} smaller" if rules.may_narrow else ""
            raise UsageError(
                f"{binding.where}: {binding} is refused; under {protocol} this file may set {variant}.*{smaller}"
            )
    return bindings


def may_set(key: tuple[str, str], value: Any, variant: str, rules: Protocol, below: Values) -> bool:
    """Whether a variant from outside may set a parameter in a file of its own.

    These are its options, and the sizes that the protocol lets it narrow. More layers or wider ones would make it
    another model than those that it is ranked with.

    Args:
      below: the values that the protocol's files set.
    """
    if key[0] == variant:
        return True
    return ".".join(key) in rules.may_narrow and isinstance(value, int) and value <= below.get(key, 0)


def sizes_of(variant: str) -> "tuple[Sizes, ...]":
    """The files with sizes that lie beside a variant from outside; none for the project's own."""
    from lra.models.attention import VARIANTS

    source = VARIANTS[variant].source if variant in VARIANTS else None
    return source.sizes if source else ()


def read(recipe: Recipe, who: str = "recipe", section: str | None = None) -> list[Binding]:
    """The bindings of a recipe.

    Args:
      who: whose rights the file has: "protocol" or "recipe".
      section: the section whose bindings are returned; None for all.
    """
    bindings = parse(recipe.text, recipe.where, section)
    admit(bindings, who)
    return bindings


def parsed(overrides: Sequence[str]) -> list[Binding]:
    """The bindings given by hand.

    Raises:
      UsageError: a binding is not valid, sets a rule of a protocol, or binds a parameter twice.
    """
    bindings = once(map(parse_override, texts("overrides", overrides)))
    admit(bindings, "hand")
    return bindings


def merged(*groups: Sequence[str]) -> tuple[str, ...]:
    """Several groups of overrides as one. If several groups set a parameter, the last one counts.

    Raises:
      UsageError: as `parsed`, for each group.
    """
    return tuple(map(str, layered(*map(parsed, groups)).values()))


def admit(bindings: Iterable[Binding], who: str) -> None:
    """Raises UsageError if `who` may not set the section of a binding."""
    for binding in bindings:
        if section_named(binding.section).set_by not in ("anyone", who):
            raise UsageError(
                f"{binding.where}: {binding.section} holds the rules of a protocol, which its own file alone sets"
            )


def set_by_protocols(section: str) -> dict[str, dict[str, Any]]:
    """The values that the protocols' files set in a section: by parameter, then by file, e.g. "demo/listops".

    For a variant from outside these are the values of its own files.
    """
    top = GIN / "protocols"
    paths = visible(top.rglob("*.gin"))
    files = {str(path.relative_to(top).with_suffix("")): read(recipe_in(path), "protocol") for path in paths}
    files |= {"/".join([*one.folders, section]): parse(one.text or "", one.file) for one in sizes_of(section)}
    values: dict[str, dict[str, Any]] = {}
    for name, bindings in files.items():
        for binding in bindings:
            if binding.section == section:
                values.setdefault(binding.parameter, {})[name] = binding.value
    return values


def source_of(task: Task, protocol: str) -> Source | None:
    """The parameters of a task's data under a protocol; None if the protocol does not run on it.

    This does not import JAX, since it reads no other section.
    """
    try:
        recipes = recipes_of(task.name, None, protocol)
    except UsageError:
        return None
    return build(task.name, layered(*(read(recipe, "protocol", section=task.name) for recipe in recipes)))


def protocols_of(task: Task) -> dict[str, Source]:
    """The parameters of a task's data under each protocol that runs on it, by the protocol's name."""
    sources = {name: source_of(task, name) for name in protocols()}
    return {name: source for name, source in sources.items() if source is not None}


def task_and_source(name: str, protocol: str | None, overrides: Sequence[str]) -> tuple[Task, Source]:
    """A task and the parameters of its data. Without a protocol, they have their defaults.

    Raises:
      UsageError: a task, a protocol or a parameter does not exist, or a binding is not valid.
    """
    task = task_named(name, protocol)
    bindings = bindings_of(task, None, protocol, parsed(overrides))
    with outside.blaming(task):
        return task, build(task.name, bindings)
