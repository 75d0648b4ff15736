"""Helpers for the tests of several tasks: examples are collected from blocks, and compared."""

import collections
import dataclasses
import io
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lra.tasks import Split
from lra.tasks.listops import VOCABULARY
from lra.tasks.publisher import opened


def decode(ids: np.ndarray) -> str:
    """Token ids of ListOps as text: "[MAX 4 3 ]"."""
    return " ".join(VOCABULARY[token - 1] for token in ids)


def collect(blocks: Iterator[tuple[str, Split]]) -> dict[str, Split]:
    parts: dict[str, list[Split]] = collections.defaultdict(list)
    for split, block in blocks:
        parts[split].append(block)
    return {
        split: Split(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in chunks])
                for field in dataclasses.fields(Split)
                if getattr(chunks[0], field.name) is not None
            }
        )
        for split, chunks in parts.items()
    }


def read(source: Any, folder: Path, workers: int = 1) -> tuple[dict[str, Split], list[str]]:
    """The examples that a source reads from a folder, and its warnings."""
    warnings: list[str] = []
    return collect(source.read(folder, workers, warnings.append)), warnings


def assert_same(left: dict[str, Split], right: dict[str, Split]) -> None:
    assert list(left) == list(right)
    for split, field in itertools.product(left, dataclasses.fields(Split)):
        a, b = getattr(left[split], field.name), getattr(right[split], field.name)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_array_equal(a, b)


def litter(folder: Path) -> None:
    """Leaves in a folder and all folders inside what file managers of macOS and Windows leave."""
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        for name in [f"._{path.name}" for path in place.iterdir()] + [".DS_Store", "Thumbs.db", "desktop.ini"]:
            (place / name).write_bytes(b"\0\5\x16\7")


def read_archive(source: Any, folder: Path, top: str, scratch: Path) -> dict[str, Split]:
    """The examples that a source reads from an archive with the files of a folder.

    Args:
      top: stands before the path of each member, "" or "./" or "aclImdb/".
      scratch: a folder for the archive.
    """
    scratch.mkdir()
    with tarfile.open(scratch / "a.tar", "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{top}{path.relative_to(folder)}"
            for place in ("__MACOSX/", ""):  # as macOS packs it, each file with a shadow
                info = tarfile.TarInfo(place + name)
                info.size = path.stat().st_size
                archive.addfile(info, io.BytesIO(path.read_bytes()))
    with opened(scratch / "a.tar", source.files, scratch / "unpacked") as files:
        assert not (files / "__MACOSX").exists()
        return read(source, files)[0]
