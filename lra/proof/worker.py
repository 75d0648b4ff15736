"""The process that runs implementations which may crash, hang or be wrong. It says what it does, line by line."""

import contextlib
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lra import compilation, memory, settings
from lra.bench.timing import enough, repeated, seconds
from lra.errors import UserError
from lra.proof.call import Call, drawn
from lra.proof.exact import apart, function_of, joined, normal, off, tolerance, widened, with_gradients, wrong
from lra.proof.verdict import Verdict

ROUNDS = 5
SLOW = 0.5  # a repetition that takes more seconds is timed in fewer rounds

Trial = tuple[Call, Sequence[str]]  # a call, and the implementations that come into question
Say = Callable[..., None]


class LeftOut(Exception):
    """Why an implementation is left out."""


def main(descriptor: int) -> None:
    """Proves the calls of the standard input, and writes a JSON object a line to a file descriptor."""
    out = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8")

    def say(**event: Any) -> None:
        print(json.dumps(event), file=out)

    trials: list[tuple[int, Trial]] = pickle.load(sys.stdin.buffer)
    compilation.keep()
    with settings.fixed():
        try:
            settings.require()
            jax.block_until_ready(jnp.zeros(1))
        except Exception as error:  # another process holds the device, say
            sys.exit(reason(error))
        say(ready=True)
        for number, (call, implementations) in trials:
            prove(call, implementations, lambda number=number, **event: say(call=number, **event))
    say(done=True)


def prove(call: Call, implementations: Iterable[str], say: Say) -> None:
    """Says the verdict of each implementation, of XLA first, and of those that are right with their times."""
    say(doing="xla")
    x = drawn(call)
    try:
        static, wide = widened(call, x)
        with jax.default_matmul_precision("highest"):
            expected = results(function_of(call, "xla", static), wide)
        own = results(function_of(call, "xla"), x)
    except Exception as error:
        say(unprovable=reason(error))
        return
    allowed = tolerance(call)
    most = {name: max(allowed, 2 * off(own[name], expected[name], call.seeds)) for name in expected}
    right = []
    for name in ("xla", *implementations):
        say(doing=name)
        try:
            given = own if name == "xla" else results(function_of(call, name), x)
            if problem := wrong(given, expected, most, call.seeds):
                raise LeftOut(problem)
            right.append((name, timed(function_of(call, name), x)))
        except Exception as error:
            say(verdict=Verdict(name, reason=reason(error))._asdict())
    for name, times in in_turns(right, lambda name: say(doing=name)).items():
        say(verdict=Verdict(name, tuple(times))._asdict())
    say(proven=True)


def results(function: Callable[[Any], Any], x: Any) -> dict[str, jax.Array]:
    """Outputs and gradients.

    Raises:
      LeftOut: the compiler refuses the program, or it takes more memory than there is.
    """
    x = jax.tree.map(jnp.asarray, x)
    compiled = compile_within_memory(jax.jit(with_gradients(function)), x)
    poison(memory.need(compiled).total)
    wide = lambda leaf: leaf.astype(jnp.complex64 if jnp.iscomplexobj(leaf) else jnp.float32)
    return jax.block_until_ready(jax.tree.map(wide, compiled(x)))


def compile_within_memory(function: Any, *args: Any) -> Any:
    try:
        compiled = function.lower(*args).compile()
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise LeftOut(f"refused by the compiler ({reason(error)})") from error
    need, room = memory.need(compiled), memory.there(settings.device())
    if need.total > room:
        raise LeftOut(f"out of memory: takes {memory.words(need.total)} of {memory.words(room)}")
    return compiled


def poison(count: int) -> None:
    """Fills some bytes of free memory with NaN, so that who reads what was not written, or past an end, finds it."""
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # less is free: then nothing is filled
        jax.block_until_ready(jnp.full(max(count // 4, 1), jnp.nan, jnp.float32))


def timed(function: Callable[[Any], Any], x: Any) -> Callable[[int], Any]:
    """A loop of the first output and its gradients, compiled and run once. What only other outputs need is left out,
    as it is where nobody uses them.
    """
    inexact, rest = apart(jax.tree.map(jnp.asarray, x))
    names = tuple(inexact)

    def once(*leaves: jax.Array) -> Any:
        first = lambda inexact: jax.tree.leaves(function(joined(x, inexact, rest)))[0]
        out, pull = jax.vjp(first, dict(zip(names, leaves)))
        return out, pull(normal(out, 0))

    run = repeated(once, tuple(inexact.values()))
    jax.block_until_ready(run(1))
    return run


def in_turns(runs: Sequence[tuple[str, Callable[[int], Any]]], begin: Callable[[str], None]) -> dict[str, list[float]]:
    """The seconds of one repetition in each round, by name. The runs take turns."""
    counts = {}
    for name, run in runs:
        begin(name)
        counts[name] = enough(run)
    times: dict[str, list[float]] = {name: [] for name, _ in runs}
    for turn in range(ROUNDS):
        for name, run in runs:
            begin(name)
            if turn < 3 or times[name][0] < SLOW:
                times[name].append(seconds(run, counts[name]) / counts[name])
    return times


def reason(error: Exception) -> str:
    """Why an implementation is left out, in a line."""
    if isinstance(error, LeftOut):
        return str(error)
    if "RESOURCE_EXHAUSTED" in str(error):
        return "out of memory"
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"raised {type(error).__name__}: {text:.160}" if text else f"raised {type(error).__name__}"
