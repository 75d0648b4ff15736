"""Square images of grey levels, for the terminal and as a contact sheet."""

from collections.abc import Sequence
from math import isqrt

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw

RAMP = np.array(list(" .:-=+*#%@"))
WIDEST = 80  # characters of a line, at most
TILE = 128  # pixels: a contact sheet enlarges smaller pictures, at most to this side
CAPTION = 14  # pixels: the height of a caption


def square(levels: Int[np.ndarray, " pixels"]) -> UInt8[np.ndarray, "side side"]:
    side = isqrt(len(levels))
    return np.asarray(levels, np.uint8).reshape(side, side)


def as_characters(levels: Int[np.ndarray, " pixels"]) -> str:
    """The image in characters from dark to bright. A pixel has two, since a character is twice as high as it
    is wide.
    """
    image = square(levels)
    rows = min(len(image), WIDEST // 2)
    small = np.asarray(Image.fromarray(image).resize((rows, rows), Image.Resampling.BOX)).repeat(2, axis=1)
    return "\n".join("".join(row).rstrip() for row in RAMP[small.astype(int) * len(RAMP) // 256])


def contact_sheet(images: Sequence[Int[np.ndarray, " pixels"]], captions: Sequence[str]) -> Image.Image:
    """All images in rows, each above its caption. Small images are enlarged by a whole number."""
    squares = [square(image) for image in images]
    scale = max(1, TILE // len(squares[0]))
    tile = scale * len(squares[0])
    columns = max(1, min(len(squares), round((1.4 * len(squares)) ** 0.5)))
    rows = -(-len(squares) // columns)
    gap = 4
    sheet = Image.new("L", (columns * (tile + gap) + gap, rows * (tile + CAPTION + gap) + gap), 255)
    draw = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(zip(squares, captions, strict=True)):
        x, y = gap + index % columns * (tile + gap), gap + index // columns * (tile + CAPTION + gap)
        sheet.paste(Image.fromarray(image).resize((tile, tile), Image.Resampling.NEAREST), (x, y))
        draw.text((x, y + tile), caption, fill=0)
    return sheet
