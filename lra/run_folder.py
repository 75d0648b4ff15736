"""The folder in which a run is trained. It is always local; a storage of objects gets it whole, as one object.

That object is `runs/RUN.tar` in the results folder. It is fetched at the beginning and replaced after each checkpoint.
"""

import dataclasses
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

from lra.errors import UserError
from lra.files import folder_atomically, is_hidden, sha256_text, writing
from lra.spec import FILE
from lra.storage import is_remote
from lra.tasks.prepared import home

HEAD = 1 << 16  # the first bytes of the object, in which are the spec and the number of the checkpoint


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
      local: where it is trained.
      shared: the object that keeps it; None if the results folder is local.
    """

    local: Path
    shared: Path | None

    def begin(self, anew: bool) -> None:
        """Brings the folder here as the storage has it, or empties it.

        Raises:
          UserError: the storage failed, or the object is no run's folder.
        """
        if anew or self.shared:
            shutil.rmtree(self.local, ignore_errors=True)
        if not self.shared or not is_remote(self.shared):
            return
        if anew:
            self.shared.unlink(missing_ok=True)
            return
        archive = self.local.with_suffix(".tar")
        with writing(archive):
            archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.shared.download(archive)
            with folder_atomically(self.local) as draft, tarfile.open(archive) as tar:
                tar.extractall(draft, filter="data")
        except FileNotFoundError:
            return
        except tarfile.TarError as error:
            raise UserError(f"{self.shared} is damaged ({error}); delete it to begin the run anew") from error
        finally:
            archive.unlink(missing_ok=True)

    def share(self) -> None:
        """Replaces the object in the storage by what the folder has now.

        Raises:
          UserError: the storage failed; the object is the one before.
        """
        if not self.shared or not is_remote(self.shared):
            return
        archive = self.local.with_suffix(".tar")
        try:
            with writing(archive), tarfile.open(archive, "w") as tar:
                for path in sorted(self.local.rglob("*"), key=first):
                    if path.is_file() and not is_hidden(path.name):
                        tar.add(path, path.relative_to(self.local))
            self.shared.upload(archive)
        finally:
            archive.unlink(missing_ok=True)

    def end(self) -> None:
        """Removes the local folder if the storage has it."""
        if self.shared:
            shutil.rmtree(self.local, ignore_errors=True)


def first(path: Path) -> tuple[bool, bool, str]:
    """Puts the spec first and a checkpoint next, so that the head of the object says what is in it."""
    return path.name != FILE, "checkpoint" not in path.parts, str(path)


def folder_of(results: Path, run: str) -> RunFolder:
    """The folder of a run in a results folder."""
    if not is_remote(results):
        return RunFolder(results / "runs" / run, None)
    local = home() / "runs" / f"{run}-{sha256_text(str(results))[:8]}"
    return RunFolder(local, results / "runs" / f"{run}.tar")


def look_into(shared: Path) -> tuple[int, str | None]:
    """The step of the newest checkpoint in a run's object, and the run's spec in JSON, None if it has none.

    Raises:
      UserError: the storage failed.
    """
    assert is_remote(shared)
    step, spec = 0, None
    try:
        with tarfile.open(fileobj=BytesIO(shared.head(HEAD)), mode="r|") as tar:
            for member in tar:
                parts = Path(member.name).parts
                if member.name == FILE and (file := tar.extractfile(member)):
                    spec = file.read().decode(errors="replace")
                elif parts[0] == "checkpoint" and len(parts) > 1 and parts[1].isdigit():
                    step = max(step, int(parts[1]))
                    break
    except (tarfile.TarError, FileNotFoundError):  # the head ends in the middle of a file
        pass
    return step, spec
