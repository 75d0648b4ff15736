"""Prepared tasks: a task's examples as memory-mapped arrays beside a manifest that says what they are.

    LRA_HOME/tasks/listops-1.0.0/{train,validation,test}.{inputs,lengths,labels}.npy, manifest.json

Training and evaluation read nothing else.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lra
from lra.errors import UserError
from lra.files import folder_atomically, locked, sha256, sha256_text, write_atomically, writing
from lra.tasks.task import SPLITS, Source, Split, Task, fields_of, folder_name

SCHEMA = 1
COLUMNS = tuple(field.name for field in dataclasses.fields(Split))
HEADER = 128  # bytes of a .npy header, which NumPy pads so that the shape can grow in place


def home() -> Path:
    """Where prepared tasks live: LRA_HOME, or else `lra` in the user's cache folder."""
    if chosen := os.environ.get("LRA_HOME"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lra"


def folder_of(task: Task, source: Source) -> Path:
    return home() / "tasks" / folder_name(task, source)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared task, its arrays memory-mapped.

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
    """Writes the prepared task, whole or not at all; says whether there was anything to do.

    Args:
      read_from: the folder with the publisher's files; None generates.
      advance: called with the number of examples each time some have been written.

    Raises:
      UserError: a file is malformed, the disk is full, another process is preparing the same, or another
        origin has been prepared under these parameters and `force` is not set.
    """
    folder = folder_of(task, source)
    with locked(folder, f"{task.name} is being prepared"):
        origin = f"{read_from.resolve()}" if read_from else "generated"
        if (folder / "manifest.json").exists() and not force:
            there = read_manifest(folder)["origin"]
            if there == origin:
                return False
            raise UserError(f"{folder} is prepared already (origin: {there}); --force replaces it")
        blocks = source.read(read_from, workers) if read_from else source.generate(workers)
        with folder_atomically(folder) as draft:
            tally = write_arrays(draft, source, blocks, advance)
            manifest = describe(task, source, draft, origin, tally)
            if (
                origin == "generated"
                and folder.name == f"{task.name}-{task.version}"
                and manifest["data_sha256"] != task.data_sha256
            ):
                raise UserError(
                    f"this machine generated other examples for {task.name} {task.version} than it should "
                    f"({manifest['data_sha256'][:12]} instead of {task.data_sha256[:12]}); please report it with "
                    f"your CPU and NumPy {np.__version__}"
                )
            manifest["manifest_sha256"] = manifest_sha256(manifest)
            write_atomically(draft / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return True


def write_arrays(
    draft: Path, source: Source, blocks: Iterator[tuple[str, Split]], advance: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """Streams the blocks into .npy files; returns how often each label occurs in each split.

    Plain writes rather than a memory map: a full disk is then an error and not a bus fault.
    """
    files, shapes, tally = {}, {}, {}
    for split in SPLITS:
        tally[split] = np.zeros(0, np.int64)
        for column in COLUMNS:
            with writing(draft):
                files[split, column] = open(draft / f"{split}.{column}.npy", "wb")
                files[split, column].write(bytes(HEADER))
            shapes[split, column] = ((0,), np.dtype(np.int32))
    try:
        for split, block in blocks:
            for column in COLUMNS:
                array = np.ascontiguousarray(getattr(block, column))
                (rows, *_), _dtype = shapes[split, column]
                shapes[split, column] = ((rows + len(array), *array.shape[1:]), array.dtype)
                with writing(draft / f"{split}.{column}.npy"):
                    files[split, column].write(array.data)
            counts = np.bincount(block.labels, minlength=len(tally[split]))
            counts[: len(tally[split])] += tally[split]
            tally[split] = counts
            advance(len(block))
        for key, file in files.items():
            shape, dtype = shapes[key]
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
    return tally


def describe(task: Task, source: Source, draft: Path, origin: str, tally: dict[str, np.ndarray]) -> dict[str, Any]:
    """The manifest of the arrays in `draft`."""
    hashes = {path.name: sha256(path) for path in sorted(draft.glob("*.npy"))}
    majority = int(tally["train"].argmax())
    return {
        "schema": SCHEMA,
        "task": task.name,
        "version": task.version,
        "parameters": fields_of(source),
        "origin": origin,
        "made_with": {"lra": lra.__version__, "numpy": np.__version__},
        "examples": {split: int(counts.sum()) for split, counts in tally.items()},
        "labels": {split: counts.tolist() for split, counts in tally.items()},
        "max_length": source.max_length,
        "vocab_size": task.vocab_size,
        "num_classes": task.num_classes,
        # accuracy of always answering the label that is most frequent in train
        "floor": {split: float(tally[split][majority] / tally[split].sum()) for split in SPLITS[1:]},
        "sha256": hashes,
        "data_sha256": sha256_text("".join(f"{name} {digest}\n" for name, digest in hashes.items())),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder.

    Raises:
      UserError: it is missing, damaged or of another schema.
    """
    path = folder / "manifest.json"
    again = f"delete {folder} and prepare the task again"
    try:
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
      how: the command that prepares it, for the error.

    Raises:
      UserError: it is not prepared, or a file is missing or not what was written.
    """
    folder = folder_of(task, source)
    way_out = f"run: {how or f'lra prepare {task.name}'}"
    if not folder.is_dir():
        raise UserError(f"{task.name} is not prepared with these parameters ({folder} is not there); {way_out}")
    manifest = read_manifest(folder)
    for name, expected in manifest["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; delete {folder} and {way_out}")
        if sha256(path) != expected:
            raise UserError(
                f"{path} is damaged, its SHA-256 is not the one in the manifest; delete {folder} and {way_out}"
            )
    splits = {
        split: Split(*(np.load(folder / f"{split}.{column}.npy", mmap_mode="r") for column in COLUMNS))
        for split in SPLITS
    }
    return Prepared(task, folder, manifest, splits)


def prepared_folders(task: Task) -> list[Path]:
    """Folders of all that is prepared of a task, whatever its parameters."""
    return sorted(path.parent for path in (home() / "tasks").glob(f"{task.name}-{task.version}*/manifest.json"))
