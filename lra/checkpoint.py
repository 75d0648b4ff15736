"""The newest checkpoint of a run, written atomically with Orbax."""

import logging
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from lra.errors import UserError
from lra.files import writing


@cache
def hush() -> None:
    """Drops what Orbax, asyncio and the threads of TensorStore print of an error that they also raise."""
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    logging.getLogger("asyncio").addFilter(lambda record: "never retrieved" not in record.getMessage())
    report = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = hook


class Checkpoints:
    """The newest checkpoint of a run. A thread writes it while the run goes on.

    Each leaf is stored under its path in the tree, so that a checkpoint can be read without this code.

    Args:
      after: what the thread does after it has written a checkpoint.
    """

    def __init__(self, folder: Path, after: Callable[[], None] = lambda: None):
        hush()
        self.folder, self.after = folder, after
        self.thread = ThreadPoolExecutor(1, "checkpoint")
        self.writing: Future[None] | None = None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, create=True, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        with writing(folder):
            self.manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, step: int, tree: Any, notes: dict[str, Any], first: Callable[[], None] = lambda: None) -> None:
        """Copies the tree and begins to write it with the notes. The previous checkpoint is removed afterwards.

        Args:
          first: what the thread does before it writes.

        Raises:
          UserError: the checkpoint before could not be written.
        """
        self.wait()
        # where the host has the arrays already, nothing is copied: JAX gives no memory away that NumPy sees
        leaves = {
            jax.tree_util.keystr(path): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
        }
        self.writing = self.thread.submit(self.write, step, leaves, notes, first)

    def write(self, step: int, leaves: dict[str, np.ndarray], notes: dict[str, Any], first: Callable[[], None]) -> None:
        """Writes a checkpoint and waits until it is on the disk."""
        first()
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(leaves), notes=ocp.args.JsonSave(notes))
        self.manager.save(step, args=arguments, force=True)
        self.manager.wait_until_finished()
        self.after()

    def wait(self) -> None:
        """Waits until the checkpoint is on the disk that was saved last.

        Raises:
          UserError: it could not be written.
        """
        writing, self.writing = self.writing, None
        try:
            if writing:
                writing.result()
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
        self.wait()
        step = self.manager.latest_step()
        if step is None:
            return None
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        names = [jax.tree_util.keystr(path) for path, _ in leaves]
        shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, leaves)}
        try:
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), notes=ocp.args.JsonRestore())
            restored = self.manager.restore(step, args=arguments)
        except Exception as error:
            raise UserError(
                f"cannot read the checkpoint {self.folder / str(step)} ({type(error).__name__}); "
                f"delete {self.folder.parent} to begin the run anew"
            ) from error
        tree = jax.tree_util.tree_unflatten(structure, [np.asarray(restored.state[name]) for name in names])
        return tree, restored.notes

    def close(self) -> None:
        """Waits until all is on the disk.

        Raises:
          UserError: the last checkpoint could not be written.
        """
        try:
            self.wait()
        finally:
            self.thread.shutdown()
            self.manager.close()
