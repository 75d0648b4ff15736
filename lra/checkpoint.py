"""Checkpoints of a run: the newest only, through Orbax, whole or not there."""

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


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing reaches standard error: of one failed array Orbax, asyncio and TensorStore's threads tell at length
    what they raise as well."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    except BaseException:
        time.sleep(1)  # the threads are not done telling
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # which tells it when it collects the tasks
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Checkpoints:
    """The newest checkpoint of a run.

    Leaves are stored under their path in the tree, so that a checkpoint can be read without this code.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, create=True, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        self.manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, step: int, tree: Any, notes: dict[str, Any]) -> None:
        """Writes the tree and the notes; the previous checkpoint goes when this one is there.

        Raises:
          UserError: it could not be written.
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
        """The newest tree, of the structure and types of `like`, and its notes; None if there is none yet.

        Raises:
          UserError: it cannot be read or is of another structure.
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
                found = self.manager.restore(step, args=arguments)
        except Exception as error:
            raise UserError(
                f"cannot read the checkpoint {self.folder / str(step)} ({type(error).__name__}); "
                f"delete {self.folder.parent} to begin the run anew"
            ) from error
        tree = jax.tree_util.tree_unflatten(structure, [np.asarray(found.state[name]) for name in names])
        return tree, found.notes

    def close(self) -> None:
        self.manager.close()
