"""Prepared tasks: a task's examples as memory-mapped arrays beside a manifest that says what they are.

    LRA_HOME/tasks/listops-1.0.0/{train,validation,test}.{inputs,lengths,labels}.npy, manifest.json

Training and evaluation read nothing else.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import lra
from lra.errors import UsageError, UserError
from lra.files import folder_atomically, locked, sha256, sha256_text, write_atomically, writing
from lra.storage import is_remote, path_of
from lra.tasks import ARENA, shared
from lra.tasks.checks import Tally, check_again, check_source, check_whole, checked, difference
from lra.tasks.outside import blaming
from lra.tasks.publisher import opened
from lra.tasks.task import SPLITS, Blocks, Source, Split, Task, fields_of, folder_name, is_default

SCHEMA = 2
COLUMNS = tuple(field.name for field in dataclasses.fields(Split))
HEADER = 128  # bytes of a .npy header, which NumPy pads so that the shape can grow in place


def home() -> Path:
    """The local folder of prepared tasks: LRA_HOME, or else `lra` in the user's cache folder.

    If LRA_HOME is an address such as s3://bucket/folder, this is the folder of the copies.

    Raises:
      UserError: none of both is known, as in a container whose user has no name.
    """
    if (chosen := os.environ.get("LRA_HOME")) and not is_remote(path_of(chosen)):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lra"
    except RuntimeError as error:
        raise UserError(
            "this user has no home folder to keep prepared tasks in; set LRA_HOME to a folder for them"
        ) from error


@contextlib.contextmanager
def permitted(path: Path) -> Iterator[None]:
    """Turns a PermissionError of a read into a UserError that names the file."""
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"cannot read {error.filename or path}: {error.strerror}; ask its owner for the right to, or set LRA_HOME "
            "to a folder of your own"
        ) from error


def folder_of(task: Task, source: Source) -> Path:
    return home() / "tasks" / folder_name(task, source)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared task with memory-mapped arrays.

    Attributes:
      manifest: version, parameters, sizes, vocabulary, floors, hashes and origin, as in manifest.json.
    """

    task: Task
    folder: Path
    manifest: dict[str, Any]
    splits: dict[str, Split]

    @property
    def max_length(self) -> int:
        return int(self.manifest["max_length"])

    @property
    def data_sha256(self) -> str:
        return str(self.manifest["data_sha256"])


def prepare(
    task: Task,
    source: Source,
    *,
    read_from: Path | None = None,
    workers: int = 1,
    force: bool = False,
    advance: Callable[[int], None] = lambda examples: None,
) -> bool:
    """Writes the prepared task, whole or not at all. Returns False if it is prepared already.

    Args:
      read_from: the folder or archive with the publisher's files; None generates the examples, or asks TFDS for them.
      advance: called with the number of examples each time some have been written.

    Raises:
      UsageError: the parameters are not what the task says.
      UserError: a file is malformed, the disk is full, or another process prepares the same task. Or a task from
        outside raises, or yields what it should not; the message names its file and line, or the example. Or examples
        of another origin or another text are prepared under these parameters and `force` is not set.
    """
    if workers < 1:
        raise UsageError(f"workers = {workers} is not at least 1")
    folder = folder_of(task, source)
    origin = f"{read_from.resolve()}" if read_from else task.origin
    if not force:
        shared.fetch(folder)
        if is_prepared(folder, task, source, origin):  # which needs neither a lock nor a right to write
            shared.upload(folder)
            return False
    with locked(folder, f"{task.name} is being prepared"), blaming(task):
        if not force and is_prepared(folder, task, source, origin):  # meanwhile, by another process
            return False
        check_source(task, source)
        warnings: list[str] = []
        columns = COLUMNS if source.difficulty else tuple(name for name in COLUMNS if name != "bins")
        with folder_atomically(folder) as draft:
            if read_from:
                with opened(read_from, source.files, draft / "unpacked") as files:
                    blocks = source.read(files, workers, warnings.append)
                    tally = write_arrays(draft, task, source, columns, blocks, advance)
                warnings = [text.replace(str(files), str(read_from)) for text in warnings]
            else:
                tally = write_arrays(draft, task, source, columns, source.generate(workers), advance)
            if task.name not in ARENA:
                warnings += check_whole(task, source, tally)
                if not read_from:
                    check_again(task, source, source.generate(workers), draft, columns)
            manifest = describe(task, source, draft, origin, tally, warnings)
            check_examples(task, source, manifest)
            manifest["manifest_sha256"] = manifest_sha256(manifest)
            write_atomically(draft / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    shared.upload(folder, replace=force)
    return True


def is_prepared(folder: Path, task: Task, source: Source, origin: str) -> bool:
    """Whether a folder holds a task prepared as it is now and from this origin; False if the folder is not there.

    Raises:
      UserError: it holds another one, or cannot be read.
    """
    with permitted(folder):
        if not (folder / "manifest.json").exists():
            return False
    there = read_manifest(folder)
    if there["origin"] != origin:
        raise UserError(
            f"{folder} is prepared already (origin: {there['origin']}); it serves as it is, and --force replaces it"
        )
    if other := difference(task, source, there):
        raise UserError(
            f"{folder} was prepared with {other}; raise the version of {task.name} to keep it, or replace it by --force"
        )
    return True


def write_arrays(
    draft: Path, task: Task, source: Source, columns: Sequence[str], blocks: Blocks, advance: Callable[[int], None]
) -> dict[str, Tally]:
    """Streams columns of the blocks into .npy files, checks them, and counts what is in them.

    The writes are plain ones, not to a memory map: so a full disk is an error and not a bus fault.
    """
    files: dict[tuple[str, str], BinaryIO] = {}
    shapes: dict[tuple[str, str], tuple[tuple[int, ...], np.dtype]] = {}
    tally = {split: Tally.empty(task, source) for split in SPLITS}
    trained: set[bytes] = set()
    others: dict[str, list[bytes]] = {split: [] for split in SPLITS[1:]}
    for split in SPLITS:
        for column in columns:
            with writing(draft):
                files[split, column] = open(draft / f"{split}.{column}.npy", "wb")
                files[split, column].write(bytes(HEADER))
    try:
        for split, block, _ in checked(task, source, blocks):
            for column in columns:
                array = np.ascontiguousarray(getattr(block, column))
                rows = shapes[split, column][0][0] if (split, column) in shapes else 0
                shapes[split, column] = ((rows + len(array), *array.shape[1:]), array.dtype)
                with writing(draft / f"{split}.{column}.npy"):
                    files[split, column].write(array.data)
            tally[split].add(block)
            digests = (digest(row, lengths) for row, lengths in zip(block.inputs, block.lengths))
            trained.update(digests) if split == "train" else others[split].extend(digests)
            advance(len(block))
        for (split, column), file in files.items():
            shape, dtype = shapes["train", column]  # a split without examples has the columns of the others
            shape, dtype = shapes.get((split, column), ((0, *shape[1:]), dtype))
            with writing(draft):
                file.seek(0)
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": shape,
                }
                np.lib.format.write_array_header_1_0(file, header)
                assert file.tell() == HEADER, f"NumPy {np.__version__} writes headers of {file.tell()} bytes"
                file.flush()
                os.fsync(file.fileno())
    finally:
        for file in files.values():
            with writing(draft):
                file.close()
    for split, digests_of_split in others.items():
        tally[split].repeated = sum(row in trained for row in digests_of_split)
    return tally


def digest(row: np.ndarray, lengths: np.ndarray) -> bytes:
    """A hash of the tokens of an example. It is short because 200,000 of them are in memory for a large task."""
    return hashlib.blake2b(row.tobytes() + lengths.tobytes(), digest_size=12).digest()


def describe(
    task: Task, source: Source, draft: Path, origin: str, tally: dict[str, Tally], warnings: list[str]
) -> dict[str, Any]:
    """The manifest of the arrays in `draft`."""
    hashes = hash_all(sorted(draft.glob("*.npy")))
    majority = int(tally["train"].labels.argmax())
    return {
        "schema": SCHEMA,
        "task": task.name,
        "version": task.version,
        "parameters": fields_of(source),
        "origin": origin,
        "made_with": {"lra": lra.__version__, "numpy": np.__version__},
        "examples": {split: counts.examples for split, counts in tally.items()},
        "labels": {split: counts.labels.tolist() for split, counts in tally.items()},
        "max_length": source.max_length,
        "vocab_size": task.vocab_size,
        "num_classes": task.num_classes,
        **({"source_sha256": task.place.sha256} if task.place else {}),
        # accuracy of always answering the label that is most frequent in train
        "floor": {split: share(tally[split].labels, majority) for split in SPLITS[1:]},
        "also_in_train": {split: tally[split].repeated for split in SPLITS[1:]},
        "warnings": warnings,
        "sha256": hashes,
        "data_sha256": sha256_text("".join(f"{name} {digest}\n" for name, digest in hashes.items())),
    }


def share(counts: np.ndarray, label: int) -> float | None:
    """The share of a label; None if there are no examples."""
    return float(counts[label] / counts.sum()) if counts.sum() else None


def hash_all(paths: list[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name. Several threads compute them: the largest task has 13 GB."""
    with ThreadPoolExecutor() as pool:
        return dict(zip((path.name for path in paths), pool.map(sha256, paths)))


def check_examples(task: Task, source: Source, manifest: dict[str, Any]) -> None:
    """Compares the examples with those that the task has on every computer, if these are known.

    Raises:
      UserError: the examples are other ones.
    """
    sha, origin = manifest["data_sha256"], manifest["origin"]
    if not is_default(source) or task.data_sha256 in (None, sha):
        return
    wrong = f"{sha[:12]} instead of {str(task.data_sha256)[:12]}"
    if origin == "generated":
        raise UserError(
            f"this machine generated other examples for {task.name} {task.version} than it should ({wrong}); "
            f"please report it with your CPU and NumPy {np.__version__}"
        )
    if task.origin != "generated":
        raise UserError(
            f"{origin} does not hold the examples of {task.name} {task.version} ({wrong}): a file of it was changed; "
            f"fetch it again from {task.published}"
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder.

    Raises:
      UserError: the manifest is missing, damaged, changed, of another schema, or another user's own.
    """
    path = folder / "manifest.json"
    again = f"delete {folder} and prepare the task again"
    try:
        with permitted(path):
            manifest = json.loads(path.read_bytes())
        schema, seal = manifest["schema"], manifest.get("manifest_sha256")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); {again}") from error
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version of lra reads {SCHEMA}; {again}")
    if seal != manifest_sha256(manifest):
        raise UserError(f"{path} is not what was written; {again}")
    return manifest


def manifest_sha256(manifest: dict[str, Any]) -> str:
    """The hash of a manifest without this hash."""
    rest = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return sha256_text(json.dumps(rest, sort_keys=True))


def load(task: Task, source: Source, how: str = "") -> Prepared:
    """Opens a prepared task, after comparing every byte with its SHA-256.

    Args:
      how: the command that prepares the task, for the error.

    Raises:
      UserError: the task is not prepared, or a file is missing, was changed or may not be read.
    """
    folder = folder_of(task, source)
    shared.fetch(folder)
    with permitted(folder):
        manifest = verified(task, source, folder, how or f"lra prepare {task.name}")
        splits = {
            split: Split(
                **{
                    column: np.load(folder / f"{split}.{column}.npy", mmap_mode="r")
                    for column in COLUMNS
                    if f"{split}.{column}.npy" in manifest["sha256"]
                }
            )
            for split in SPLITS
        }
    return Prepared(task, folder, manifest, splits)


def with_files(task: Task, how: str, origin: str | None = None) -> str:
    """How to prepare a task, with the publisher's files where it needs them.

    Args:
      how: the command, or the call, that prepares it.
      origin: where the examples were read from that are prepared already.
    """
    if not how.startswith("lra prepare"):
        return f"run: {how}"
    if origin not in (None, task.origin):
        return f"run: {how} --from {shlex.quote(str(origin))}"
    return f"fetch {task.published} and run: {how} --from {task.archive}" if task.needs_files else f"run: {how}"


def verified(task: Task, source: Source, folder: Path, how: str) -> dict[str, Any]:
    """The manifest in a folder, if all files are what it says; arguments and errors as for `load`."""
    way_out = with_files(task, how)
    if not folder.is_dir():
        raise UserError(f"{task.name} is not prepared with these parameters ({folder} is not there); {way_out}")
    manifest = read_manifest(folder)
    if other := difference(task, source, manifest):
        force = " --force" if how.startswith("lra prepare") else ", with force=True"
        raise UserError(
            f"{folder} was prepared with {other}; raise the version of {task.name} to keep it, or replace it: "
            f"{way_out}{force}"
        )
    way_out = with_files(task, how, manifest["origin"])
    expected = manifest["sha256"]
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise UserError(f"{folder / missing[0]} is missing; delete {folder} and {way_out}")
    for name, sha in hash_all([folder / name for name in expected]).items():
        if sha != expected[name]:
            raise UserError(
                f"{folder / name} is damaged, its SHA-256 is not the one in the manifest; delete {folder} and {way_out}"
            )
    return manifest


def prepared_folders(task: Task) -> list[Path]:
    """The folders that hold this task prepared, with any parameters.

    Raises:
      UserError: the folder of prepared tasks may not be read.
    """
    tasks = home() / "tasks"
    with permitted(tasks):
        names = os.listdir(tasks) if tasks.is_dir() else []
        ours = [tasks / name for name in names if f"{name}-".startswith(f"{task.name}-{task.version}-")]
        return sorted(folder for folder in ours if (folder / "manifest.json").is_file())
