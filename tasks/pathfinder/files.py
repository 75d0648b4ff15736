"""LRA's own files of Pathfinder: its folder of PNGs, which is read and written, and its TFDS build, which is read."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from lra.errors import UserError
from lra.files import folder_atomically, visible, writing
from lra.tasks.pathfinder.drawing import Chunk, draw_chunk
from lra.tasks.pathfinder.law import Law
from lra.tasks.pathfinder.shapes import Bytes
from lra.tasks.publisher import NESTS, find, import_tensorflow, inside
from lra.tasks.task import Warn
from lra.workers import in_order

FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
TFDS_SPLITS = {6: "easy", 9: "intermediate", 14: "hard"}
PUBLISHED = (
    "LRA's archive storage.googleapis.com/long-range-arena/lra_release.gz or its TFDS build .../pathfinder_tfds.gz "
    "(which answered 403 in 2026; 'lra prepare' without --from generates)"
)
BLOCK = 200
Labels = np.ndarray  # of int, [n]; -1 for an image that is empty


def level(law: Law) -> str:
    return FOLDERS.get(law.contour_length, f"curv_contour_length_{law.contour_length}")


def pattern(law: Law) -> str:
    name = f"pathfinder{law.resolution}"
    images = inside(r"metadata/[^/]+\.npy|imgs/.+\.png", name, level(law))
    build = inside(rf"{name}-{TFDS_SPLITS.get(law.contour_length)}\.tfrecord-[^/]+", name, "[^/]+")
    return f"{images}|{build}"


def read(law: Law, folder: Path, workers: int, warn: Warn) -> Iterator[tuple[Bytes, Labels]]:
    """Blocks of images and labels, in the order of the TFDS build, or of batch and line in the folder's metadata.

    Args:
      folder: the folder that holds `pathfinder32` (or another resolution), as LRA's archive does. It may also be that
        folder, its level, or a version of its TFDS build.
    """
    name = f"pathfinder{law.resolution}"
    records = f"{name}-{TFDS_SPLITS.get(law.contour_length)}.tfrecord-*"
    for place in (folder, *sorted(folder.glob("*.*.*")), *sorted((folder / name).glob("*.*.*"))):
        if shards := sorted(place.glob(records)):
            return check_count(law, place, read_records(law, shards))
    root = find(folder, f"{name}/{level(law)}/metadata", PUBLISHED).parent
    trees = [folder / nest / name for nest in NESTS if (folder / nest / name).is_dir()]
    if len(trees) > 1:
        warn(f"{folder} has {len(trees)} folders called {name}, of which LRA's issue 38 suspects one; read: {root}")
    return check_count(law, root, read_folder(law, root, workers, warn))


def check_count(law: Law, place: Path, blocks: Iterator[tuple[Bytes, Labels]]) -> Iterator[tuple[Bytes, Labels]]:
    count, expected = 0, sum(law.sizes.values())
    for images, labels in blocks:
        count += len(labels)
        yield images, labels
    if count != expected:
        raise UserError(
            f"{place} has {count:,} images, {expected:,} were expected: fetch the files again, or say by --gin "
            f"'TASK.train = ...', '... .validation = ...' and '... .test = ...' how to split them"
        )


# --- The folder ------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """The content of a line of metadata."""

    where: str  # file and line, for errors
    image: Path
    label: int


def read_folder(law: Law, root: Path, workers: int, warn: Warn) -> Iterator[tuple[Bytes, Labels]]:
    files = visible((root / "metadata").glob("*.npy"))
    if not files:
        raise UserError(f"{root / 'metadata'} has no .npy files; fetch {PUBLISHED}")
    if odd := [path for path in files if not path.stem.isdecimal()]:
        raise UserError(f"{odd[0]}: metadata is called by the number of its batch, e.g. 0.npy; fetch the file again")
    files.sort(key=lambda path: int(path.stem))
    blocks = (
        lines[start : start + BLOCK]
        for lines in (metadata_of(root, path, law.contour_length) for path in files)
        for start in range(0, len(lines), BLOCK)
    )
    empty = 0
    batches: Iterator[tuple[Bytes, Labels]] = in_order(partial(read_images, law.resolution), blocks, workers)
    for images, labels in batches:
        empty += int((labels < 0).sum())
        yield images, labels
    if empty:
        warn(f"{empty} of the image files under {root} are empty and were left out")


def metadata_of(root: Path, path: Path, length: int) -> list[Line]:
    """The lines of a metadata file. It is plain text, as in LRA's release, or a NumPy array of texts, as the original
    generator writes it.

    Args:
      length: paddles of the long contours.

    Raises:
      UserError: a line is malformed. The message names it.
    """
    again = "fetch the file again"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {again}") from error
    if raw.startswith(b"\x93NUMPY"):
        try:
            table = np.load(io.BytesIO(raw), allow_pickle=False).astype(str).astype(bytes).astype(str)  # ASCII only
            if table.ndim != 2:
                raise ValueError(f"it has {table.ndim} axes, not 2")
            rows = table.tolist()
        except Exception as error:  # a damaged header makes NumPy raise whatever its parts do
            reason = f"{type(error).__name__}: {error}"[:120]
            raise UserError(f"{path} is not a NumPy array of texts ({reason}); {again}") from error
        what = "row"
    else:
        try:
            rows = [line.split() for line in raw.decode("ascii").splitlines()]
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, byte {error.start}: neither text nor a NumPy array; {again}") from error
        what = "line"
    lines = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}, {what} {number}"
        if len(row) < 6:
            raise UserError(f"{where}: {len(row)} columns, fewer than 6; {again}")
        name = PurePosixPath(row[0], row[1])
        if not re.fullmatch(r"[\w.+ -]+(/[\w.+ -]+)*", str(name), re.ASCII) or ".." in name.parts:
            raise UserError(f"{where}: {str(name)[:80]!r} is no path inside the folder; {again}")
        if row[3] not in ("0", "1", "0.0", "1.0"):
            raise UserError(f"{where}: the label {row[3][:20]!r} is neither 0 nor 1; {again}")
        if row[5] not in (str(length), f"{length}.0"):
            raise UserError(f"{where}: contours of {row[5][:20]!r} paddles and not {length}: another level's folder?")
        lines.append(Line(where, root / name, int(float(row[3]))))
    return lines


def read_images(resolution: int, lines: list[Line]) -> tuple[Bytes, Labels]:
    """The images of some lines. An empty file, of which LRA's own data has one, has the label -1."""
    images = np.zeros((len(lines), resolution, resolution), np.uint8)
    labels = np.array([line.label for line in lines])
    for index, line in enumerate(lines):
        try:
            raw = line.image.read_bytes()
        except OSError as error:
            raise UserError(f"{line.where}: cannot read {line.image}: {error.strerror}; fetch it again") from error
        if raw:
            images[index] = decode_png(raw, resolution, str(line.image))
        else:
            labels[index] = -1
    return images, labels


def decode_png(raw: bytes, resolution: int, name: str) -> Bytes:
    """The grey levels of a PNG.

    Raises:
      UserError: the PNG is damaged or of another size.
    """
    try:
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            image.verify()  # the checksums, which decoding alone does not look at
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            if image.size != (resolution, resolution):
                width, height = image.size
                raise UserError(f"{name} is {width} x {height} pixels and not {resolution} x {resolution}")
            return np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} is not a whole PNG ({str(error)[:80]}); fetch it again") from error


# --- The TFDS build --------------------------------------------------------------------------------------------


def read_records(law: Law, shards: list[Path]) -> Iterator[tuple[Bytes, Labels]]:
    """The examples of a TFDS build, in its order. LRA's own splits are the first 80 %, the next 10 % and the rest."""
    tensorflow = import_tensorflow("LRA's TFDS build")
    features = {
        "image": tensorflow.io.FixedLenFeature((), tensorflow.string),
        "label": tensorflow.io.FixedLenFeature((), tensorflow.int64),
    }
    for shard in shards:
        numbered = enumerate(tensorflow.data.TFRecordDataset(str(shard)).as_numpy_iterator(), start=1)
        images, labels = [], []
        number = 0
        while True:
            try:
                number, raw = next(numbered)
                example = tensorflow.io.parse_single_example(raw, features)
            except StopIteration:
                break
            except tensorflow.errors.OpError as error:
                reason = str(error.message)[:120]
                raise UserError(f"{shard}, after record {number}: {reason}; fetch the file again") from error
            label, png = int(example["label"]), example["image"].numpy()
            where = f"{shard}, record {number}"
            if label not in (0, 1):
                raise UserError(f"{where}: the label {label} is neither 0 nor 1; fetch the file again")
            images.append(decode_png(png, law.resolution, where))
            labels.append(label)
            if len(labels) == BLOCK:
                yield np.stack(images), np.array(labels)
                images, labels = [], []
        if labels:
            yield np.stack(images), np.array(labels)


# --- Writing the folder ----------------------------------------------------------------------------------------


def metadata(law: Law, index: int, chunk: Chunk) -> list[str]:
    """LRA's line of text about each image of a chunk."""
    contours = f"{law.continuity} {law.contour_length} {law.distractor_length}"
    paddles = f"{law.paddle_length} {law.paddle_thickness}"
    return [
        f"imgs/{index} sample_{i}.png {i} {label} {contours} {paddles} {margin} 1\n"
        for i, (label, margin) in enumerate(zip(chunk.labels, chunk.margins, strict=True))
    ]


def write_batch(law: Law, root: Path, count: int, index: int) -> int:
    """Writes a chunk as LRA does, up to position `count` of the data set. Returns the number of its images."""
    chunk = draw_chunk(law, index)
    lines = metadata(law, index, chunk)[: count - index * law.chunk]
    folder = root / "imgs" / str(index)
    with writing(folder):
        folder.mkdir(parents=True)
        for i in range(len(lines)):
            Image.fromarray(chunk.images[i]).save(folder / f"sample_{i}.png")
        (root / "metadata" / f"{index}.npy").write_text("".join(lines), "ascii")
    return len(lines)


def write_lra_folder(
    law: Law,
    folder: Path,
    count: int,
    workers: int = 1,
    advance: Callable[[int], None] = lambda images: None,
) -> Path:
    """Writes the first `count` images as LRA does, a batch for each chunk, all or nothing. Returns the folder that
    holds them.

    That is <folder>/pathfinder<resolution>/<level>. It holds the images, imgs/<batch>/sample_<i>.png, and a line about
    each, metadata/<batch>.npy, which, like LRA's, is plain text in spite of its name.
    """
    root = Path(folder) / f"pathfinder{law.resolution}" / level(law)
    if root.exists():
        raise UserError(f"{root} is there already; delete it or choose another folder")
    batches = range(-(-count // law.chunk))
    with folder_atomically(root) as draft:
        (draft / "metadata").mkdir()
        for images in in_order(partial(write_batch, law, draft, count), batches, workers):
            advance(images)
    return root
