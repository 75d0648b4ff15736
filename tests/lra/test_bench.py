"""Benchmarks: what is timed, what is not, and the file from which a stopped benchmark continues."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.bench import kernels, timing
from lra.bench.cases import Case
from lra.bench.report import Report
from lra.errors import UserError

ROW = {"variant": "a", "length": 3, "speed": 1.0}


def test_a_time_is_that_of_the_work_and_not_of_the_call(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run(seconds):
        def of(n):
            clock[0] += 0.3 + n * seconds
            return np.zeros(())

        return of

    timed = timing.in_turns({"slow": run(2e-3), "fast": run(1e-4)})
    assert timed["slow"].seconds == pytest.approx(2e-3)
    assert timed["fast"].seconds == pytest.approx(1e-4)
    assert timed["fast"].spread == pytest.approx(0, abs=1e-9)


def test_a_loop_calls_the_function_each_time_anew():
    calls = []

    def function(x, y):
        jax.debug.callback(lambda x: calls.append(np.array(x)), x)
        return x * y

    timing.repeated(function, (jnp.ones((2, 3)), jnp.full((2, 3), 1e30)))(4).block_until_ready()
    jax.effects_barrier()
    assert len(calls) == 4
    firsts = [x[0, 0] for x in calls]
    assert firsts == sorted(set(firsts)), "each call must depend on the one before"


def test_a_report_goes_on_where_it_was_stopped(tmp_path):
    path = tmp_path / "bench.json"
    Report(path, ("variant", "length"), None, again=False).add(ROW)
    report = Report(path, ("variant", "length"), None, again=False)
    assert not report.wants(variant="a", length=3)
    assert report.wants(variant="a", length=4)
    assert Report(path, ("variant", "length"), None, again=True).wants(variant="a", length=3)
    assert not Report(tmp_path / "new", ("variant",), 0, again=False).wants(variant="a"), "no time is left"


@pytest.mark.parametrize("damage", ["{", "[]", '{"rows": [{}], "hardware": {}}', "hardware"])
def test_a_report_of_something_else_is_refused(tmp_path, damage):
    path = tmp_path / "bench.json"
    Report(path, ("variant", "length"), None, again=False).add(ROW)
    if damage == "hardware":
        damage = json.dumps(json.loads(path.read_text()) | {"hardware": {"device": "abacus"}})
    path.write_text(damage)
    with pytest.raises(UserError, match="--again"):
        Report(path, ("variant", "length"), None, again=False)
    assert path.read_text() == damage


def test_a_wrong_kernel_gets_no_time(monkeypatch):
    monkeypatch.setattr(timing, "LEAST", 1e-4)
    wrong = {"xla": lambda x: jnp.sin(x), "mosaic_gpu": lambda x: jnp.sin(x) * jnp.where(x > 2.5, 1.1, 1)}
    case = Case("linear", 100, 1, wrong.get, (jnp.linspace(0, 3, 100),), 100.0, 100.0, tuple(wrong))
    by_backend = {row["by"]: row for row in kernels.rows(case, "forward")}
    assert "ms" not in by_backend["mosaic_gpu"]
    assert by_backend["mosaic_gpu"]["note"].startswith("wrong")
    assert "ms" in by_backend["xla"]
    right = case._replace(function=lambda name: jnp.sin)
    assert all("ms" in row for row in kernels.rows(right, "forward+backward"))
    gradient = jax.custom_vjp(jnp.sin)
    gradient.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.sin(x),))
    bad = case._replace(function={"xla": jnp.sin, "mosaic_gpu": gradient}.get)
    by_backend = {row["by"]: row for row in kernels.rows(bad, "forward+backward")}
    assert by_backend["mosaic_gpu"]["note"].startswith("wrong"), "gradients count"
