"""What a process has compiled, the next need not; the user's own cache counts, and one that fails costs time alone."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest
from conftest import SMALL, bindings

from lra import compilation

NAMES = (
    "jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_enable_xla_caches",
)  # fmt: skip
COUNTED = """
import collections, sys
import jax.monitoring
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counts.update([name.rpartition("/")[2]]))
from lra.cli import main
code = main(sys.argv[1:])
print(counts["compile_requests_use_cache"], counts["cache_hits"])
sys.exit(code)
"""
FULL = """
import resource
from lra import compilation
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))
compilation.keep()
import jax
print(jax.jit(lambda x: x + 1)(1))
"""


def process(home: Path, code: str, *words: str) -> str:
    """What a process prints that has no cache but its own. It says nothing on standard error."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMPILATION", "JAX_PERS"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=env | {"LRA_HOME": str(home)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return done.stdout


@pytest.mark.slow
def test_the_second_run_of_a_shape_compiles_nothing(small_home, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "tasks").symlink_to(small_home / "tasks")
    words = ["run", "--task", "listops", "--variant", "linear", "--protocol", "demo", *bindings(*SMALL)]
    for seed in (0, 1):  # another seed is another run of the same shape
        said = process(home, COUNTED, *words, "--seeds", str(seed), "--results", str(tmp_path / "results"))
        wanted, found = map(int, said.split())
        assert wanted > 50
        assert (wanted - found == 0) if seed else (wanted - found > 50)
    assert (home / "compiled").stat().st_mode & 0o777 == 0o700
    assert len(list((tmp_path / "results" / "records").iterdir())) == 2


def test_a_cache_that_is_full_or_damaged_is_no_word_worth(tmp_path):
    assert process(tmp_path, FULL.format(bytes=100)) == "2\n"
    assert [path.stat().st_size for path in (tmp_path / "compiled").iterdir()] == [100]  # half an entry
    assert process(tmp_path, FULL.format(bytes=-1)) == "2\n"


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """A process whose user has set nothing, with a new LRA_HOME."""
    before = {name: jax.config.values[name] for name in NAMES}
    for name in NAMES:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def changed(**own: object) -> dict[str, object]:
    """The settings that `keep` changes where the user has set some."""
    for name, value in own.items():
        jax.config.update(name, value)
    before = {name: jax.config.values[name] for name in NAMES}
    with warnings.catch_warnings():
        compilation.keep()
    return {name: jax.config.values[name] for name in NAMES if jax.config.values[name] != before[name]}


@pytest.mark.usefixtures("plain")
def test_it_is_on_by_default_and_counts_small_programs(tmp_path):
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    values = changed()
    assert values["jax_compilation_cache_dir"] == str(tmp_path / "compiled")
    assert values["jax_persistent_cache_min_compile_time_secs"] == 0
    assert not changed()


@pytest.mark.usefixtures("plain")
def test_what_the_user_has_set_counts(tmp_path, monkeypatch):
    assert not changed(jax_compilation_cache_dir=str(tmp_path / "mine"))
    assert not changed(jax_compilation_cache_dir=None, jax_enable_compilation_cache=False)
    jax.config.update("jax_enable_compilation_cache", True)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    assert not changed()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("plain")
def test_a_folder_that_cannot_be_written_or_is_another_users_is_not_used(tmp_path, read_only, monkeypatch):
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
        assert not changed()
    read_only(tmp_path)
    assert not changed()


def test_what_was_not_used_for_longest_is_removed(tmp_path, monkeypatch):
    for age in range(5):
        (tmp_path / f"{age}-cache").write_bytes(b"0" * 10)
        os.utime(tmp_path / f"{age}-cache", (1e9 - age, 1e9 - 1000))  # read at different times
    monkeypatch.setattr(compilation, "MOST_BYTES", 35)
    compilation.cut(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-cache", "1-cache", "2-cache"]
