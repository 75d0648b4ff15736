"""Shows the parameters of a section: those of a task's data or the options of a variant."""

import dataclasses
from typing import Any

from lra.commands.output import print_json, print_table


def parameters(section: str) -> list[dict[str, Any]]:
    """The parameters of a section: name, type in words, default, meaning, and the values that protocols set."""
    from lra.configuration import kind_of
    from lra.recipe import set_by_protocols
    from lra.sections import section_named

    described = section_named(section)
    by_protocols = set_by_protocols(section)
    rows = []
    for field in dataclasses.fields(described.schema):
        required = field.default is dataclasses.MISSING
        rows.append(
            {"name": field.name, "type": kind_of(described.hints[field.name]), "required": required,
             "default": None if required else field.default, "meaning": described.meanings.get(field.name, ""),
             "protocols": by_protocols.get(field.name, {})}
        )  # fmt: skip
    return rows


def show_parameters(section: str, title: str, as_json: bool) -> int:
    """Prints the parameters of a section."""
    rows = parameters(section)
    if as_json:
        return print_json({"name": section, "parameters": rows})
    print(title)
    if not rows:
        print(f"{section} has nothing that could be set")
        return 0
    cells = [
        [f"{section}.{row['name']}", "must be set" if row["required"] else repr(row["default"]), row["type"],
         row["meaning"], ", ".join(f"{name}: {value!r}" for name, value in row["protocols"].items())]
        for row in rows
    ]  # fmt: skip
    print_table(("parameter", "default", "type", "what", "protocols set"), cells)
    first = rows[0]
    example = first["default"] if not first["required"] else "..."
    print(f"set one with --gin '{section}.{first['name']} = {example!r}'")
    return 0
