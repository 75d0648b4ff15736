"""LRA's files of Pathfinder: the folder, written here and read back, and the TFDS build."""

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from examples import assert_same, collect, litter, read, read_archive
from PIL import Image

from lra.errors import UserError
from lra.tasks import Split
from lra.tasks.pathfinder import Pathfinder
from lra.tasks.pathfinder.drawing import draw_chunk
from lra.tasks.pathfinder.files import decode_png, write_lra_folder

SOURCE = Pathfinder(train=5, validation=2, test=3, chunk=4)
LEVEL = Path("pathfinder32") / "curv_contour_length_14"


@pytest.fixture(scope="module")
def drawn() -> dict[str, Split]:
    return collect(SOURCE.generate())


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """LRA's folder, which no test changes."""
    folder = tmp_path_factory.mktemp("written")
    write_lra_folder(SOURCE, folder, 10)
    return folder


@pytest.fixture
def root(written, tmp_path) -> Path:
    """The folder of the level in a copy of LRA's folder."""
    return shutil.copytree(written, tmp_path / "lra") / LEVEL


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def images_of(parts: dict[str, Split]) -> list[np.ndarray]:
    """The images of all splits, one split after the other."""
    return [row.reshape(32, 32) for part in parts.values() for row in part.inputs]


# --- The writer ------------------------------------------------------------------------------------------------


def test_lra_folder(tmp_path):
    spec, done = Pathfinder(chunk=4), []
    root = write_lra_folder(spec, tmp_path, count=6, advance=done.append)
    assert done == [4, 2]
    assert root == tmp_path / "pathfinder32" / "curv_contour_length_14"
    assert sorted(p.relative_to(root).as_posix() for p in root.rglob("*.*")) == (
        [f"imgs/0/sample_{i}.png" for i in range(4)] + [f"imgs/1/sample_{i}.png" for i in range(2)]
        + ["metadata/0.npy", "metadata/1.npy"]
    )  # fmt: skip
    images, labels, _ = draw_chunk(spec, 1)
    lines = (root / "metadata" / "1.npy").read_text().splitlines()
    assert lines == [f"imgs/1 sample_{i}.png {i} {labels[i]} 1.0 14 4 2 0.5 1 1" for i in range(2)]
    for i in range(2):
        with Image.open(root / "imgs" / "1" / f"sample_{i}.png") as png:
            assert png.mode == "L"
            np.testing.assert_array_equal(np.asarray(png), images[i])


def test_existing_folder_is_not_touched(root, tmp_path):
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    with pytest.raises(UserError, match=str(root)):
        write_lra_folder(replace(SOURCE, seed=1), tmp_path / "lra", 10)
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before


def test_all_or_nothing(tmp_path):
    class Stop(Exception):
        pass

    def stop(images: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        write_lra_folder(SOURCE, tmp_path, 10, advance=stop)
    assert [path for path in tmp_path.rglob("*") if path.name != "pathfinder32"] == []


# --- The folder read back --------------------------------------------------------------------------------------


def test_reads_back_as_generated(root, drawn, monkeypatch):
    assert {split: len(part) for split, part in drawn.items()} == SOURCE.sizes
    for place in (root, root.parent, root.parents[1]):
        splits, warnings = read(SOURCE, place)
        assert_same(splits, drawn)
        assert warnings == []
    monkeypatch.setattr("lra.tasks.pathfinder.files.BLOCK", 3)
    assert_same(read(SOURCE, root)[0], drawn)


def test_a_folder_or_archive_with_what_file_managers_leave_and_without_its_top_is_the_same(root, tmp_path, drawn):
    litter(root.parents[1])
    for place in (root, root.parent, root.parents[1]):
        assert_same(read(SOURCE, place)[0], drawn)
    tops = ("", "./", "curv_contour_length_14/", f"{LEVEL}/", f"./{LEVEL}/", f"lra_release/lra_release/{LEVEL}/")
    for number, top in enumerate(tops):
        assert_same(read_archive(SOURCE, root, top, tmp_path / f"{number}"), drawn)
    with pytest.raises(UserError, match="no member that this task reads"):  # those of another level or size stay packed
        read_archive(SOURCE, root, "pathfinder32/curv_baseline/", tmp_path / "other")


def test_two_workers_do_the_same(root, tmp_path, drawn):
    again = write_lra_folder(SOURCE, tmp_path / "again", 10, workers=2)
    assert {p.relative_to(again): p.read_bytes() for p in again.rglob("*.*")} == {
        p.relative_to(root): p.read_bytes() for p in root.rglob("*.*")
    }
    assert_same(read(SOURCE, root, workers=2)[0], drawn)


def test_both_forms_of_metadata(root, drawn):
    """Text under the name of an array, as in LRA's release, and the array that upstream's code writes."""
    for path in (root / "metadata").iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        with open(path, "wb") as file:
            np.save(file, np.array(rows))
    assert (root / "metadata" / "1.npy").read_bytes().startswith(b"\x93NUMPY")
    assert_same(read(SOURCE, root)[0], drawn)


def test_labels_as_floats(root, drawn):
    for path in (root / "metadata").iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("\n".join(" ".join([*row[:3], f"{row[3]}.0", *row[4:]]) for row in rows))
    assert_same(read(SOURCE, root)[0], drawn)


def test_batches_are_in_the_order_of_their_numbers(tmp_path):
    spec = Pathfinder(train=11, validation=0, test=1, chunk=1)
    root = write_lra_folder(spec, tmp_path, 12)
    assert (root / "metadata" / "10.npy").exists()
    assert_same(read(spec, root)[0], collect(spec.generate()))


def test_an_empty_image_keeps_its_place(root, drawn):
    """LRA's data has an empty image. The images after it stay in their splits."""
    (root / "imgs" / "0" / "sample_1.png").write_bytes(b"")
    (root / "imgs" / "1" / "sample_2.png").write_bytes(b"")  # the 7th image, in validation
    splits, warnings = read(SOURCE, root)
    assert warnings == [f"2 of the image files under {root} are empty and were left out"]
    keep = {"train": [0, 2, 3, 4], "validation": [0], "test": [0, 1, 2]}
    assert_same(splits, {split: drawn[split][np.array(rows)] for split, rows in keep.items()})


def test_the_inner_of_two_trees_is_read(tmp_path, drawn):
    other = replace(SOURCE, seed=3)
    write_lra_folder(SOURCE, tmp_path / "lra_release" / "lra_release", 10)
    write_lra_folder(other, tmp_path / "lra_release", 10)
    splits, warnings = read(SOURCE, tmp_path)
    assert_same(splits, drawn)
    assert len(warnings) == 1
    assert "2 folders called pathfinder32" in warnings[0]
    assert str(Path("lra_release/lra_release") / LEVEL) in warnings[0]
    shutil.rmtree(tmp_path / "lra_release" / "lra_release")
    splits, warnings = read(SOURCE, tmp_path)
    assert_same(splits, collect(other.generate()))
    assert warnings == []


def test_levels_are_told_apart(tmp_path, drawn):
    """LRA's easy level lies beside it, in a folder of another name."""
    easy = replace(SOURCE, contour_length=6)
    write_lra_folder(SOURCE, tmp_path, 10)
    with pytest.raises(UserError, match="curv_baseline"):
        read(easy, tmp_path)
    assert write_lra_folder(easy, tmp_path, 10).name == "curv_baseline"
    assert_same(read(SOURCE, tmp_path)[0], drawn)
    assert_same(read(easy, tmp_path)[0], collect(easy.generate()))


def test_the_folder_of_another_level_is_refused(tmp_path):
    """Its metadata gives the length of its contours."""
    easy = write_lra_folder(replace(SOURCE, contour_length=6), tmp_path, 10)
    with pytest.raises(UserError, match="curv_baseline"):
        read(SOURCE, easy)


# --- The folder damaged ----------------------------------------------------------------------------------------

IMAGE = "imgs/1/sample_0.png"
GOOD = "imgs/1 sample_0.png 0 1 1.0 14 4 2 0.5 1 1\n"


def write(name: str, content: bytes | str):
    raw = content.encode() if isinstance(content, str) else content
    return lambda root: (root / name).write_bytes(raw)


def cut(name: str, size: int):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def npy(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def header(text: str) -> bytes:
    """The beginning of the file of an array."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def empty_folder(name: str):
    return lambda root: [path.unlink() for path in (root / name).iterdir()]


def make_folder(name: str):
    def replace_by_folder(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()

    return replace_by_folder


META, LINE_1, ROW_1 = "metadata/1.npy", "metadata/1.npy, line 1", "metadata/1.npy, row 1"
ROW = GOOD.split()
NO_CHARACTER = npy(np.array([ROW])).replace(b"i\0\0\0", b"\0\0\x11\0", 1)
ENDLESS = "{'descr': '<U9', 'fortran_order': False, 'shape': (99999999999999999999, 4)}"


@pytest.mark.parametrize(
    ("damage", "where", "what"),
    [
        pytest.param(write(IMAGE, png(np.zeros((32, 31), np.uint8))), IMAGE, "31 x 32", id="image too narrow"),
        pytest.param(write(IMAGE, png(np.zeros((64, 64), np.uint8))), IMAGE, "64 x 64", id="image too large"),
        pytest.param(cut(IMAGE, -30), IMAGE, "not a whole PNG", id="image cut off"),
        pytest.param(cut(IMAGE, 10), IMAGE, "not a whole PNG", id="image cut in its head"),
        pytest.param(write(IMAGE, b"GIF89a"), IMAGE, "not a whole PNG", id="no image"),
        pytest.param(lambda root: (root / IMAGE).unlink(), LINE_1, "sample_0.png", id="image missing"),
        pytest.param(make_folder(IMAGE), LINE_1, "sample_0.png", id="image is a folder"),
        pytest.param(write(META, GOOD.replace(" 0 1 ", " 0 2 ")), LINE_1, "'2'", id="label"),
        pytest.param(write(META, "imgs/1 sample_0.png 0\n"), LINE_1, "fewer than 6", id="columns"),
        pytest.param(write(META, f"{GOOD}\n{GOOD}"), f"{META}, line 2", "fewer than 6", id="blank line"),
        pytest.param(write(META, f"../{GOOD}"), LINE_1, "inside the folder", id="path with .."),
        pytest.param(write(META, f"/{GOOD}"), LINE_1, "inside the folder", id="absolute path"),
        pytest.param(write(META, GOOD.replace("sample", "/sample")), LINE_1, "inside the folder", id="absolute name"),
        pytest.param(write(META, GOOD.replace("_", "\0")), LINE_1, "sample", id="zero in a name"),
        pytest.param(write(META, b"\x80\x04pickle"), f"{META}, byte 0", "text", id="no text"),
        pytest.param(make_folder(META), META, "metadata", id="metadata is a folder"),
        pytest.param(write(META, GOOD), LEVEL.name, "7 images", id="lines missing"),
        pytest.param(write("metadata/3.npy", GOOD), LEVEL.name, "11 images", id="a line too many"),
        pytest.param(write("metadata/x.npy", GOOD), "metadata/x.npy", "number", id="metadata of another name"),
        pytest.param(lambda root: shutil.rmtree(root / "metadata"), "/metadata", "fetch", id="no metadata"),
        pytest.param(empty_folder("metadata"), "/metadata", "no .npy", id="no files"),
        pytest.param(
            write(META, npy(np.array([["imgs/1", "sample_0.png"]]))), ROW_1, "fewer than 6", id="array: columns"
        ),
        pytest.param(write(META, npy(np.array([[[word] for word in ROW]]))), META, "", id="array: three dimensions"),
        pytest.param(
            write(META, npy(np.array([["imgs/1", "a\nb.png", "0", "1"]]))), ROW_1, "", id="array: name of two lines"
        ),
        pytest.param(
            write(META, npy(np.array([["imgs/1", "a\ud800.png", "0", "1"]]))), META, "", id="array: no Unicode"
        ),
        pytest.param(write(META, NO_CHARACTER), META, "", id="array: no character"),
        pytest.param(write(META, npy(np.array([ROW, None], object))), META, "", id="array: objects"),
        pytest.param(write(META, npy(np.array([ROW]))[:-8]), META, "", id="array: cut"),
        pytest.param(write(META, header("{'descr': (")), META, "", id="array: bad header"),
        pytest.param(write(META, header(" " * 20_480)), META, "", id="array: long header"),
        pytest.param(write(META, header(ENDLESS)), META, "", id="array: endless"),
    ],
)
def test_damaged_folder(root, damage, where, what):
    damage(root)
    with pytest.raises(UserError) as caught:
        read(SOURCE, root.parents[1])
    message = str(caught.value)
    assert where in message
    assert what in message
    assert "\n" not in message


def test_any_changed_byte_of_an_image_is_noticed_or_harmless(drawn):
    """A PNG holds the checksums of its parts."""
    image = images_of(drawn)[0]
    raw = png(image)
    for place in range(len(raw)):
        decoded = image
        with contextlib.suppress(UserError):
            decoded = decode_png(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :], 32, "here.png")
        np.testing.assert_array_equal(decoded, image, err_msg=f"byte {place}")


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} has no {LEVEL}/metadata.*lra_release"):
        read(SOURCE, tmp_path)


# --- The TFDS build --------------------------------------------------------------------------------------------


@pytest.fixture
def build(tmp_path, drawn) -> Path:
    """The folder of a version, with two files of five records."""
    tensorflow = pytest.importorskip("tensorflow")
    feature = tensorflow.train.Feature
    records = []
    for image, label in zip(images_of(drawn), np.concatenate([part.labels for part in drawn.values()])):
        features = {
            "image": feature(bytes_list=tensorflow.train.BytesList(value=[png(image)])),
            "label": feature(int64_list=tensorflow.train.Int64List(value=[int(label)])),
        }
        example = tensorflow.train.Example(features=tensorflow.train.Features(feature=features))
        records.append(example.SerializeToString())
    place = tmp_path / "pathfinder32" / "1.0.0"
    place.mkdir(parents=True)
    for shard in range(2):
        with tensorflow.io.TFRecordWriter(str(place / f"pathfinder32-hard.tfrecord-0000{shard}-of-00002")) as writer:
            for record in records[5 * shard : 5 * shard + 5]:
                writer.write(record)
    return place


def test_tfds_build(build, drawn, monkeypatch):
    for place in (build, build.parent, build.parents[1]):
        splits, warnings = read(SOURCE, place)
        assert_same(splits, drawn)
        assert warnings == []
    monkeypatch.setattr("lra.tasks.pathfinder.files.BLOCK", 2)
    assert_same(read(SOURCE, build)[0], drawn)
    with pytest.raises(UserError, match="10 images, 11 were expected"):
        read(replace(SOURCE, test=4), build)


def test_damaged_tfds_build(build):
    shard = build / "pathfinder32-hard.tfrecord-00001-of-00002"
    raw = shard.read_bytes()
    flipped = raw[:200] + bytes([raw[200] ^ 1]) + raw[201:]
    for damaged in (raw[:-1], raw[: len(raw) // 2], flipped):
        shard.write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            read(SOURCE, build)
        assert f"{shard}, after record " in str(caught.value)
        assert "\n" not in str(caught.value)
    shard.write_bytes(raw[:5])  # which TensorFlow takes for the end
    with pytest.raises(UserError, match="5 images, 10 were expected"):
        read(SOURCE, build)
    shard.unlink()
    with pytest.raises(UserError, match="5 images, 10 were expected"):
        read(SOURCE, build)


def test_malformed_records(build):
    tensorflow = pytest.importorskip("tensorflow")
    feature, integers, texts = tensorflow.train.Feature, tensorflow.train.Int64List, tensorflow.train.BytesList
    image = feature(bytes_list=texts(value=[png(np.zeros((32, 32), np.uint8))]))
    short = feature(bytes_list=texts(value=[png(np.zeros((32, 32), np.uint8))[:-30]]))
    one, two = (feature(int64_list=integers(value=[value])) for value in (1, 2))
    shard = build / "pathfinder32-hard.tfrecord-00001-of-00002"
    for features, what in (
        ({"image": image, "label": two}, "label 2"),
        ({"image": short, "label": one}, "PNG"),
        ({"image": image}, "record 1"),
        ({"image": image, "label": image}, "record 1"),
    ):
        example = tensorflow.train.Example(features=tensorflow.train.Features(feature=features))
        with tensorflow.io.TFRecordWriter(str(shard)) as writer:
            writer.write(example.SerializeToString())
        with pytest.raises(UserError) as caught:
            read(SOURCE, build)
        assert f"{shard}, " in str(caught.value)
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)
