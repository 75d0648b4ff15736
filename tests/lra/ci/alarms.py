"""How often the gate is right about time on this machine: runs without a change, and with a planted slowdown.

    python tests/lra/ci/alarms.py local --runs 50 --slower 0.1

Each process times the variant as it is, and the variant with a planted loop of multiplications, as many as make its
training step slower by that share; --slower 0 leaves it out. Prints one JSON line per run. Pytest does not collect
this file: it takes long, and the result depends on the machine.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra.ci import speed
from lra.ci.baseline import WORKLOAD
from lra.ci.changes import slower
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


def processes(name: str, rounds: int) -> Iterator[dict[str, float]]:
    if not rounds:
        return speed.in_fresh_processes([name], WORKLOAD, [], [])
    return speed.in_fresh_processes([name, f"slow_{name}"], WORKLOAD, [f"slow_{name}.rounds = {rounds}"], [])


def rounds_for(name: str, share: float) -> int:
    """How many multiplications make a step slower by this share."""
    many = 400
    added = [sample[f"slow_{name}"] / sample[name] - 1 for sample in itertools.islice(processes(name, many), 3)]
    return round(many * share / float(np.median(added)))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--slower", type=float, default=0.1, metavar="SHARE")
    options = parser.parse_args(words)
    name, count = options.variant, WORKLOAD.processes
    rounds = rounds_for(name, options.slower) if options.slower else 0
    samples = processes(name, rounds)
    old = [sample[name] for sample in itertools.islice(samples, 2 * count)]
    print(json.dumps({"variant": name, "multiplications": rounds, "baseline": old}), flush=True)
    alarms = {name: 0, f"slow_{name}": 0} if rounds else {name: 0}
    for run in range(options.runs):
        began = time.monotonic()
        both = list(itertools.islice(samples, count))
        line: dict[str, Any] = {"run": run}
        for which in alarms:
            series = [[sample[which] for sample in both]]
            if slower(old, series[0]):
                series.append([sample[which] for sample in itertools.islice(samples, count)])
            line[which] = {"alarm": all(slower(old, ratios) for ratios in series), "rounds": series}
            alarms[which] += line[which]["alarm"]
        print(json.dumps(line | {"seconds": round(time.monotonic() - began)}), flush=True)
    print(f"alarms in {options.runs} runs: {alarms}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
