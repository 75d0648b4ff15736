"""A profile of some steady steps of a run, which Perfetto and TensorBoard open."""

import time
from collections.abc import Callable
from pathlib import Path

import jax

SECONDS = 3.0


class Trace:
    """Records what the process does between two dispatches of train steps that lie SECONDS apart.

    Args:
      folder: where the profile is written; None to record nothing.
      say: prints a line.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None]):
        self.folder, self.say = folder, say
        self.began: float | None = None

    @property
    def is_recording(self) -> bool:
        return self.began is not None

    def after_dispatch(self) -> None:
        """Begins after the first dispatch, and ends when there is enough."""
        if self.began is not None:
            if time.monotonic() - self.began >= SECONDS:
                self.close()
        elif self.folder:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # its events would crowd out those of the programs
            self.began = time.monotonic()
            self.attempt(lambda: jax.profiler.start_trace(str(self.folder), profiler_options=options))

    def close(self) -> None:
        """Writes what was recorded."""
        if self.began is not None:
            seconds = time.monotonic() - self.began
            self.attempt(jax.profiler.stop_trace)
            if self.folder:
                self.say(f"a profile of {seconds:.0f} s is in {self.folder}; docs/time.md says how to open it")
            self.folder = self.began = None

    def attempt(self, action: Callable[[], None]) -> None:
        """Does something without which the run goes on: another profile may be under way, or the disk full."""
        try:
            action()
        except Exception as error:
            self.say(f"no profile: {str(error).splitlines()[0]}")
            self.folder = self.began = None
