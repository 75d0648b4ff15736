"""Prepared tasks in a storage of objects: LRA_HOME = s3://bucket/folder. Training reads the copy in the local cache.

An upload writes the manifest last, so that a folder with a manifest is whole. What a download brings is compared with
the manifest's hashes when the task is loaded.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from lra.files import writing
from lra.storage import is_remote, path_of

MANIFEST = "manifest.json"


def shared() -> Path | None:
    """The folder of prepared tasks in the storage that LRA_HOME names; None if it names a local folder, or nothing."""
    home = path_of(os.environ.get("LRA_HOME", ""))
    return home / "tasks" if is_remote(home) else None


def fetch(folder: Path) -> None:
    """Brings a prepared task here, if the storage has it and this machine has not.

    Several processes may do so at once: the first that has all of it wins.

    Raises:
      UserError: the storage failed, or the disk is full.
    """
    place = shared()
    if place is None or (folder / MANIFEST).exists() or not (place / folder.name / MANIFEST).exists():
        return
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        manifest = place / folder.name / MANIFEST
        for name in (*json.loads(manifest.read_bytes())["sha256"], MANIFEST):
            there = place / folder.name / name
            assert is_remote(there)
            with writing(draft / name):
                there.download(draft / name)
        os.chmod(draft, 0o755)
        if not folder.exists():
            draft.rename(folder)
    except OSError:
        if not (folder / MANIFEST).exists():  # another process was not faster
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def upload(folder: Path, replace: bool = False) -> None:
    """Brings a prepared task to the storage, if that has it not.

    Args:
      replace: whether to bring it also if the storage has one.

    Raises:
      UserError: the storage failed.
    """
    place = shared()
    if place is None or (not replace and (place / folder.name / MANIFEST).exists()):
        return
    for path in (*sorted(folder.glob("*.npy")), folder / MANIFEST):
        there = place / folder.name / path.name
        assert is_remote(there)
        there.upload(path)
