"""What one process has compiled, the next need not: JAX's persistent compilation cache, on by default.

JAX looks a program up by its operations, the versions, the flags and the instruction set of the processor, so that
unlike machines may share a folder.
"""

import os
import warnings
from pathlib import Path

import jax

from lra.errors import UserError
from lra.files import check_writable
from lra.tasks.prepared import home

MOST_BYTES = 2 << 30  # of the folder when a process begins
SECONDS = "jax_persistent_cache_min_compile_time_secs"


def keep() -> None:
    """Keeps what this process compiles, unless the user has said where, or that nothing is to be kept.

    A folder that cannot be used costs time and nothing else, so it is no error.
    """
    config = jax.config.values
    chosen = config["jax_compilation_cache_dir"] or "JAX_COMPILATION_CACHE_DIR" in os.environ
    if chosen or not config["jax_enable_compilation_cache"] or not (path := folder()):
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    if SECONDS.upper() not in os.environ:
        jax.config.update(SECONDS, 0.0)  # the many small programs of a start take as long as the large ones
    # XLA writes its own caches while it compiles, and fails where they cannot be written
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache", UserWarning)


def folder() -> Path | None:
    """The folder `compiled` of LRA_HOME, made and cut to size; None if it cannot be written or another user owns it.

    Who writes there decides what this process executes.
    """
    try:
        path = home() / "compiled"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_writable(path / "entry")
        cut(path)
        return path if path.stat().st_uid == os.geteuid() else None
    except (OSError, UserError):
        return None


def cut(path: Path) -> None:
    """Removes the files of a folder that have not been used for longest, until the others fit into MOST_BYTES."""
    files = [(file.stat(), file) for file in path.iterdir() if file.is_file()]
    size = 0
    for stat, file in sorted(files, key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime), reverse=True):
        size += stat.st_size
        if size > MOST_BYTES:
            file.unlink(missing_ok=True)
