"""Labels beside circles, so that no label covers a circle or another label."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lra.leaderboard.site.figure import CHARACTER, at
from lra.leaderboard.site.markup import Child, element

Box = tuple[float, float, float, float]  # left, top, right, bottom
FARTHEST = 110  # units between a circle and its label
ANCHORS = {0.0: "", 0.5: " middle", 1.0: " end"}  # the CSS class by the share of the text that is left of its position


class Spot(NamedTuple):
    """A circle, by centre and radius."""

    x: float
    y: float
    r: float


class Text(NamedTuple):
    """What stands beside a circle.

    Attributes:
      key: the number that stands there in place of the label; None if it is the label.
    """

    markup: Child
    key: int | None = None


class Choice(NamedTuple):
    """A position for a text.

    Attributes:
      share: the share of the text that is left of x.
      far: whether a line has to lead from the circle to the text.
    """

    x: float
    y: float
    share: float
    far: bool = False


def placed(labels: Sequence[str], spots: Sequence[Spot], room: Box) -> list[Text]:
    """A text for each circle: its label, or a number if the label is empty or has no free place."""
    circles = [(spot.x - spot.r, spot.y - spot.r, spot.x + spot.r, spot.y + spot.r) for spot in spots]
    taken: list[Box] = []
    texts: list[Text] = []
    keys = 0
    for number, (label, spot) in enumerate(zip(labels, spots)):
        others = circles[:number] + circles[number + 1 :]
        choice = free(label, spot, room, [*taken, *others]) if label else None
        if choice is None:
            keys += 1
            label = str(keys)
            choice = free(label, spot, room, [*taken, *others]) or Choice(spot.x, spot.y + 4, 0.5)
            texts.append(Text(drawn(label, spot, choice), keys))
        else:
            texts.append(Text(drawn(label, spot, choice)))
        taken.append(box_of(label, choice))
    return texts


def free(label: str, spot: Spot, room: Box, others: Sequence[Box]) -> Choice | None:
    """The first position at which a label covers nothing."""
    for choice in choices(label, spot):
        box = box_of(label, choice)
        inside = room[0] <= box[0] and box[2] <= room[2] and room[1] - 10 <= box[1] and box[3] <= room[3]
        if inside and not any(overlap(box, other) for other in others):
            return choice
    return None


def choices(label: str, spot: Spot) -> Iterator[Choice]:
    """Positions beside the circle, then farther and farther away."""
    (x, y, r), near, far = spot, 0.7 * spot.r + 2, spot.r + 3
    yield Choice(x + far, y + 4, 0.0)
    yield Choice(x - far, y + 4, 1.0)
    yield Choice(x, y - far, 0.5)
    yield Choice(x, y + far + 9, 0.5)
    yield Choice(x + near, y - near, 0.0)
    yield Choice(x + near, y + near + 8, 0.0)
    yield Choice(x - near, y - near, 1.0)
    yield Choice(x - near, y + near + 8, 1.0)
    half = CHARACTER * len(label) / 2
    for distance in range(math.ceil(r) + 8, FARTHEST, 9):
        for place in range(16):
            across, down = math.cos(place * math.pi / 8), math.sin(place * math.pi / 8)
            yield Choice(x + across * (distance + half), y + down * (distance + 6) + 4, 0.5, True)


def box_of(label: str, choice: Choice) -> Box:
    width = CHARACTER * len(label)
    start = choice.x - choice.share * width
    return (start, choice.y - 9, start + width, choice.y + 2)


def drawn(label: str, spot: Spot, choice: Choice) -> Child:
    text = element("text", label, x=at(choice.x), y=at(choice.y), class_=f"label{ANCHORS[choice.share]}")
    if not choice.far:
        return text
    left, top, right, bottom = box_of(label, choice)
    x, y = min(max(spot.x, left), right), min(max(spot.y, top), bottom)
    part = spot.r / max(math.hypot(x - spot.x, y - spot.y), 1e-9)
    start = spot.x + part * (x - spot.x), spot.y + part * (y - spot.y)
    return [element("line", x1=at(start[0]), y1=at(start[1]), x2=at(x), y2=at(y), class_="leader"), text]


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
