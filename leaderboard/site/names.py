"""Names that are too long for their place."""

import re
from collections import defaultdict
from collections.abc import Sequence

OPTIONS = re.compile(r"(.*?) \((\w+ = .*)\)(.*)", re.DOTALL)


def cropped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def distinct(labels: Sequence[str], most: int) -> list[str]:
    """The labels with at most `most` letters each. Those that differ still differ.

    What a long label loses first are the options that all rows of its variant share, then the middle.
    """
    shared = shared_options(labels)
    short: dict[str, str] = {label: label for label in labels if len(label) <= most}
    taken = set(short)
    for label in labels:
        if label in short:
            continue
        text = middle_cropped(without(label, shared), most)
        number = 2
        while text in taken:
            text = f"{cropped(label, most - len(f' #{number}'))} #{number}"
            number += 1
        taken.add(text)
        short[label] = text
    return [short[label] for label in labels]


def middle_cropped(text: str, most: int) -> str:
    """The text without its middle; a value at its end is what tells it from others."""
    end = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def parts(label: str) -> tuple[str, list[str], str]:
    """A label's name, its options, and what follows."""
    if not (match := OPTIONS.fullmatch(label)):
        return label, [], ""
    return match[1], re.split(r", (?=\w+ = )", match[2]), match[3]


def shared_options(labels: Sequence[str]) -> dict[str, set[str]]:
    """The options that all rows with options share, by the name of the variant, if there are several rows."""
    by_name: dict[str, list[set[str]]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        name, options, _ = parts(label)
        if options:
            by_name[name].append({*options})
    return {name: set.intersection(*sets) for name, sets in by_name.items() if len(sets) > 1}


def without(label: str, shared: dict[str, set[str]]) -> str:
    name, options, rest = parts(label)
    left = [option for option in options if option not in shared.get(name, ())]
    return f"{name} ({', '.join(left)}){rest}" if left else label
