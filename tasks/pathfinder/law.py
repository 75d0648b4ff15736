"""The law of Pathfinder's images: how many contours an image has, and what they look like."""

from dataclasses import dataclass

from lra.tasks.task import Sized


@dataclass(frozen=True)
class Law(Sized):
    """The parameters of a Pathfinder data set; the defaults are those of LRA's pathfinder32. Distances are in pixels.

    Attributes:
      resolution: the height and the width of an image, in pixels.
      contour_length: paddles of each of the two long contours. The default, 14, is the level that LRA calls "hard"
        and reports; its "intermediate" level has 9, its "easy" one 6.
      padding: the width of the border that paddles avoid, in pixels.
      paddle_margins: distances that paddles keep from each other, in pixels. One of them is drawn for each image.
      paddle_length: the length of a paddle, in pixels.
      paddle_thickness: the thickness of a paddle, in pixels.
      seed_distance: the distance between the first tips of the two long contours, in pixels.
      marker_radius: the radius of the two markers, in pixels.
      continuity: the factor by which the law multiplies the bend between two paddles before it weighs directions. A
        larger one makes straighter contours.
      distractor_paddles: paddles of all distractors of an image together.
      snake_contrast: the brightness of contours, where a marker has 1.
      paddle_contrast: a factor of `snake_contrast` for the long contours only: the original forgets it for
        distractors.
      antialias: the factor by which shapes are drawn larger than they are, and shrunk.
      train: images of the training split. The defaults of the splits are LRA's 80, 10 and 10 % of 200,000 images.
      validation: images of the validation split.
      test: images of the test split.
      seed: the seed of all random draws.
      chunk: images that one process draws together; it is a parameter of the data, since each chunk has random words
        of its own.
    """

    resolution: int = 32
    contour_length: int = 14
    padding: int = 1
    paddle_margins: tuple[int, ...] = (1,)
    paddle_length: int = 2
    paddle_thickness: float = 0.5
    seed_distance: int = 7
    marker_radius: float = 1.5
    continuity: float = 1.0
    distractor_paddles: int = 20
    snake_contrast: float = 2.0
    paddle_contrast: float = 0.75
    antialias: int = 2
    train: int = 160_000
    validation: int = 20_000
    test: int = 20_000
    seed: int = 0
    chunk: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        reach = self.paddle_length + max(self.paddle_margins)
        if self.contour_length < 3 or self.padding < 1:
            raise ValueError("a contour has 3 paddles or more, and the border 1 pixel or more")
        if not reach + 2 <= self.seed_distance < self.resolution / 4:
            raise ValueError("with this seed_distance the first paddles may not lie in the image")
        if self.antialias * self.paddle_thickness % 1:
            raise ValueError("antialias * paddle_thickness is not a whole number of pixels")
        if not isinstance(self.chunk, int) or self.chunk < 1:
            raise ValueError(f"chunk = {self.chunk!r} is not a number of images")

    @property
    def max_length(self) -> int:
        return self.resolution**2

    @property
    def distractor_length(self) -> int:
        return self.contour_length // 3

    @property
    def distractors(self) -> int:
        return self.distractor_paddles // self.distractor_length

    @property
    def crowd(self) -> int:
        """How many paddles an image can have."""
        return 2 * self.contour_length + self.distractors * self.distractor_length
