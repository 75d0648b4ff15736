"""The newest checkpoint of a run, written atomically with Orbax."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from lra.errors import UserError
from lra.files import writing
from lra.progress import STDERR


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drops all that is written to standard error. The lines of `Display` wait.

    If an array cannot be written, the threads of Orbax, asyncio and TensorStore print long tracebacks of an error that
    they also raise.
    """
    with STDERR:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        except BaseException:
            time.sleep(1)  # the threads may still be printing
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it prints later, when it collects the tasks
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class Checkpoints:
    """The newest checkpoint of a run.

    Each leaf is stored under its path in the tree, so that a checkpoint can be read without this code.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, create=True, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        with writing(folder):
            self.manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, step: int, tree: Any, notes: dict[str, Any]) -> None:
        """Writes the tree and the notes. The previous checkpoint is removed afterwards.

        Raises:
          UserError: the checkpoint could not be written.
        """
        leaves = {
            jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(leaves), notes=ocp.args.JsonSave(notes))
        try:
            with silence():
                self.manager.save(step, args=arguments, force=True)
                self.manager.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"cannot write a checkpoint to {self.folder}: {str(error).splitlines()[0][:150]}; free space and run "
                "the same command again, it goes on from the checkpoint before"
            ) from error

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest tree with its notes; None if there is no checkpoint.

        Args:
          like: a tree with the structure, shapes and types of the checkpoint.

        Raises:
          UserError: the checkpoint cannot be read or has another structure.
        """
        step = self.manager.latest_step()
        if step is None:
            return None
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        names = [jax.tree_util.keystr(path) for path, _ in leaves]
        shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, leaves)}
        try:
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), notes=ocp.args.JsonRestore())
            with silence():
                restored = self.manager.restore(step, args=arguments)
        except Exception as error:
            raise UserError(
                f"cannot read the checkpoint {self.folder / str(step)} ({type(error).__name__}); "
                f"delete {self.folder.parent} to begin the run anew"
            ) from error
        tree = jax.tree_util.tree_unflatten(structure, [np.asarray(restored.state[name]) for name in names])
        return tree, restored.notes

    def close(self) -> None:
        self.manager.close()
