"""`make accelerator` without an accelerator: what it does with steps that end, fail, last too long or have changed."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("accelerator_run", ROOT / "accelerator" / "run.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "accelerator_run", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(module, "WORK", tmp_path / "work")
    monkeypatch.setattr(module, "GRACE", 1)
    monkeypatch.setattr(module, "device", lambda: {"platform": "gpu", "device": "NVIDIA H999 (80 GB)", "jax": "9"})
    return module


def outcomes(runner) -> dict[str, str]:
    status = json.loads((runner.KEPT / "nvidia-h999--80-gb-" / "status.json").read_text())
    return {name: entry["outcome"] for name, entry in status.items()}


def appends(path: Path, word: str) -> list[str]:
    return ["-c", f"import sys; open({str(path)!r}, 'a').write({word!r} + ''.join(sys.argv[1:]))"]


def test_what_has_ended_is_not_done_again_and_what_has_changed_is(runner, tmp_path, monkeypatch):
    sources, seen = tmp_path / "sources", tmp_path / "seen"
    sources.mkdir()
    (sources / "a.py").write_text("1")
    step = runner.Step("one", appends(seen, "x"), sources=(str(sources),), anew=("again",))
    fails = runner.Step("two", ["-c", "raise SystemExit(3)"])
    monkeypatch.setattr(runner, "STEPS", (lambda *_: [step], lambda *_: [fails]))
    assert runner.main(5) == 1
    assert outcomes(runner) == {"one": "passed", "two": "failed (code 3)"}
    assert runner.main(5) == 0
    assert seen.read_text() == "x"
    (sources / "a.py").write_text("2")
    runner.main(5)
    assert seen.read_text() == "xxagain"


def test_a_step_that_lasts_too_long_is_interrupted_like_ctrl_c_and_goes_on_later(
    runner, tmp_path, monkeypatch, request
):
    started, saved = tmp_path / "started", tmp_path / "saved"
    script = (
        f"import time, pathlib\ntry:\n    pathlib.Path({str(started)!r}).touch()\n    time.sleep(600)\n"
        f"except KeyboardInterrupt:\n    pathlib.Path({str(saved)!r}).touch()"
    )

    class Slow(subprocess.Popen):
        """The time of this step is over as soon as it has started, however long the start takes."""

        def wait(self, timeout=None):
            if saved.exists() or timeout == runner.GRACE:
                return super().wait(timeout)
            while not started.exists():
                time.sleep(0.01)
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(runner, "GRACE", 50)  # and not the time of the step
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, old))
    monkeypatch.setattr(runner, "STEPS", (lambda *_: [runner.Step("slow", ["-c", script])],))
    with monkeypatch.context() as patch:
        patch.setattr(runner.subprocess, "Popen", Slow)
        runner.main(5)
    assert outcomes(runner) == {"slow": "interrupted"}
    assert saved.exists()
    monkeypatch.setattr(runner, "STEPS", (lambda *_: [runner.Step("slow", ["-c", "1"])],))
    runner.main(5)
    assert outcomes(runner) == {"slow": "passed"}


def test_a_step_that_limits_itself_gets_its_share_and_goes_on_unless_it_ended_early(runner, tmp_path, monkeypatch):
    seen = tmp_path / "seen"
    script = (
        f"import sys, time; open({str(seen)!r}, 'a').write(sys.argv[-1] + ' '); time.sleep(60 * float(sys.argv[-1]))"
    )
    sleeps = runner.Step("sleeps", ["-c", script], 0.001, limits_itself=True)
    quick = runner.Step("quick", appends(seen, "quick "), 0.5, limits_itself=True)
    monkeypatch.setattr(runner, "STEPS", (lambda *_: [sleeps, quick],))
    runner.main(10)
    assert seen.read_text() == "0.010 quick --minutes5.000"
    assert outcomes(runner) == {"sleeps": "goes on", "quick": "passed"}
    runner.main(10)
    assert seen.read_text() == "0.010 quick --minutes5.0000.010 "


def test_nothing_begins_when_the_time_is_over(runner, monkeypatch, capsys):
    monkeypatch.setattr(runner, "STEPS", (lambda *_: [runner.Step("late", ["-c", "1"])],))
    assert runner.main(0) == 0
    assert "no time left" in capsys.readouterr().out


def test_records_of_training_are_kept(runner, tmp_path, monkeypatch):
    folder = runner.WORK / "results" / "nvidia-h999--80-gb-" / "records"
    folder.mkdir(parents=True)
    record = {"task": {"name": "listops"}, "variant": {"name": "luna"}, "protocol": {"name": "paper"}}
    (folder / "a.json").write_text(json.dumps(record))
    monkeypatch.setattr(runner, "STEPS", (lambda *_: [runner.Step("one", ["-c", "1"])],))
    runner.main(5)
    assert json.loads((runner.KEPT / "nvidia-h999--80-gb-" / "records" / "a.json").read_bytes()) == record


def test_the_sweep_finds_the_records_of_earlier_calls_of_its_protocol(runner, tmp_path):
    out = runner.KEPT / "device"
    (out / "records").mkdir(parents=True)
    for name, protocol in (("a", "paper"), ("b", "demo")):
        (out / "records" / f"{name}.json").write_text(json.dumps({"protocol": {"name": protocol}}))
    runner.bring(out, "paper")
    assert [path.name for path in (runner.WORK / "results" / "device" / "records").iterdir()] == ["a.json"]


def test_without_an_accelerator_it_says_so_or_rehearses(runner, monkeypatch):
    monkeypatch.setattr(runner, "device", lambda: {"platform": "cpu", "device": "cpu"})
    called = []
    monkeypatch.setattr(runner, "STEPS", (lambda *given: called.append(given) or [],))
    with pytest.raises(SystemExit, match=r"JAX sees no GPU or TPU here, only the CPU; .* rehearse with --cpu"):
        runner.main(1)
    monkeypatch.setenv("JAX_PLATFORMS", "")
    assert runner.main(1, rehearsal=True) == 0
    assert called == [(runner.WORK / "cpu", runner.SMALL)]
    assert not runner.KEPT.exists()


@pytest.mark.slow
def test_the_package_is_found_without_being_installed(runner):
    where = runner.ask(["-c", "import lra.models.kernels as found; print(found.__file__)"])
    assert str(runner.WORK / "package") in where
    assert "lra" in runner.ask(["-m", "lra", "--version"])
    for step in (*runner.proof(Path(), runner.SMALL), *runner.benchmarks(Path(), runner.SMALL)):
        assert {"--results", "--minutes"} <= set(runner.ask([*step.command[:3], "--help"]).replace("[", " ").split())
