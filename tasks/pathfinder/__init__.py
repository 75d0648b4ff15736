"""Pathfinder: are two marked tips the ends of one dashed contour, or of two?

Each image shows two long contours of short paddles, shorter distractor contours, and two discs: on both ends
of one long contour (label 1), or on one end of each (label 0). The law is that of the generator of the Long
Range Arena (Linsley et al., 2018; github.com/drewlinsley/pathfinder), quirks included; this is an independent
implementation. The tasks of the family differ in the parameters of the law: Path-X is Pathfinder at 128 x 128 pixels.
"""

from lra.tasks.pathfinder.files import PUBLISHED
from lra.tasks.pathfinder.source import Pathfinder, Pathfinder64, PathX, PathX256
from lra.tasks.pictures import as_characters
from lra.tasks.task import Task

__all__ = ["FAMILY", "PathX", "PathX256", "Pathfinder", "Pathfinder64"]

# name, parameters, summary, hash of the examples, and what a seed that learnt nothing counts, as the literature has it
MEMBERS: tuple[tuple[str, type[Pathfinder], str, str, float | None], ...] = (
    ("pathfinder", Pathfinder, "are two marks on one dashed contour? 32 x 32 grey levels",
     "dd9ec577d18143ff63555e329c83fd93de24d835c0cdc24a29f6a030a2c27932", None),
    ("pathx", PathX, "Pathfinder at 128 x 128",
     "e380dc9487934e5af611bfcc6c6fb01ca77e9350784dcf8ccbac2f62ef410850", 0.5),
    ("pathfinder64", Pathfinder64, "Pathfinder at 64 x 64",
     "be807f77c5bff01360b9e413cec0702494c152d6c3c4c025afbbd3bc0a495be8", None),
    ("pathx256", PathX256, "Pathfinder at 256 x 256",
     "a3073000f1653df146e6d2a546742c345bc2ea3578ad0627ddffdb41efb347d2", None),
)  # fmt: skip

FAMILY = tuple(
    Task(
        name,
        version="1.0.0",
        summary=summary,
        source=source,
        classes=("two contours", "one contour"),
        vocab_size=256,
        citation="Linsley et al. 2018 (arXiv 1805.08315); Kim et al. 2020; Tay et al. 2021 (arXiv 2011.04006)",
        licence="generated here (Apache-2.0)",
        show=as_characters,
        published=PUBLISHED,
        data_sha256=data_sha256,
        picture=True,
        unlearnt=unlearnt,
    )
    for name, source, summary, data_sha256, unlearnt in MEMBERS
)
