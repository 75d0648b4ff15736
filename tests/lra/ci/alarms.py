"""How often the gate is wrong about time on this machine: runs without a change, and runs with a planted slowdown.

    python tests/lra/ci/alarms.py local --runs 50          # false alarms; a JSON line a run
    python tests/lra/ci/alarms.py local --runs 10 --slower 0.1

The planted slowdown is real work: a loop of multiplications inside the variant, as many as make its training step
slower by that share. Not collected by pytest: it takes long, and the machine decides what comes out.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra.ci import speed
from lra.ci.baseline import BUDGET
from lra.ci.compare import slower
from lra.models.attention import VARIANTS, register_attention


def work(x: jax.Array, rounds: int) -> jax.Array:
    """The same numbers, after some multiplications of small matrices that the compiler cannot leave out."""
    start = jnp.full((64, 64), 1e-3) + 0 * x.ravel()[0].astype(jnp.float32)
    done = jax.lax.fori_loop(0, rounds, lambda _, y: jnp.tanh(y @ y), start)
    return x + 0 * jax.lax.stop_gradient(done).sum().astype(x.dtype)


def plant() -> None:
    """Registers, for each variant on heads, one of the name slow_NAME with a parameter `rounds`."""
    for name, variant in list(VARIANTS.items()):
        if variant.form == "heads" and f"slow_{name}" not in VARIANTS:
            plant_in(name)


def plant_in(name: str) -> None:
    inner = VARIANTS[name].make

    @register_attention(f"slow_{name}", cost="L")
    class Slow(nnx.Module):
        def __init__(self, shape, *, rounds: int = 0, rngs):
            self.core = inner(shape, rngs=rngs) if isinstance(inner, type) else inner
            self.rounds = rounds

        def __call__(self, q, k, v, mask):
            return self.core(work(q, self.rounds), k, v, mask)


plant()  # in each process: this file is run by all of them


def measure(name: str, rounds: int, processes: int) -> list[float]:
    overrides = [f"slow_{name}.rounds = {rounds}"]
    return speed.in_fresh_processes([f"slow_{name}"], BUDGET, overrides, [], processes)[f"slow_{name}"]


def rounds_for(name: str, share: float) -> int:
    """How many multiplications slow a step down by a share of it."""
    many = 400
    without, with_many = (float(np.median(measure(name, rounds, 3))) for rounds in (0, many))
    return round(many * share * without / (with_many - without))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--slower", type=float, default=0.0, metavar="SHARE")
    options = parser.parse_args(words)
    name, processes = options.variant, BUDGET["processes"]
    rounds = rounds_for(name, options.slower) if options.slower else 0
    old = measure(name, 0, 2 * processes)
    print(json.dumps({"variant": name, "rounds": rounds, "baseline": old}), flush=True)
    alarms = suspicions = 0
    for run in range(options.runs):
        began = time.monotonic()
        found = [measure(name, rounds, processes)]
        if slower(old, found[0]):
            found.append(measure(name, rounds, processes))
        alarm = all(slower(old, samples) for samples in found)
        alarms, suspicions = alarms + alarm, suspicions + (len(found) > 1)
        change = float(np.median(np.concatenate(found)) / np.median(old) - 1)
        line = {"run": run, "alarm": alarm, "change": round(change, 4), "rounds": found}
        print(json.dumps(line | {"seconds": round(time.monotonic() - began)}), flush=True)
    print(f"{alarms} alarms and {suspicions} suspicions in {options.runs} runs", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
