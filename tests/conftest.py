"""What several tests need: a small ListOps, prepared once, and the command line as a user sees it."""

import builtins
import errno
import gc
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

# what one test has compiled, the next need not; the kill tests turn it off
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# What runs for milliseconds is not optimised for seconds; the runs in test_run.py are, as a user's are. The emitters of
# fusions take half of all compilation; `make test-new` tests with them, since later releases have no other.
if os.environ.get("JAX_PLATFORMS") == "cpu":
    QUICK = "--xla_backend_optimization_level=0"
    if version("jaxlib").startswith("0.10."):
        QUICK += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", QUICK)

# who starts the tests in the background may have them ignore Ctrl-C; some tests are about it
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import pytest

# What a newcomer runs has no luck in it: each property test has the same examples every time, whatever is set outside.
# `make fuzz` loads the other profile, which draws new ones.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("new", deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")

Done = subprocess.CompletedProcess[str]
SMALL_DATA = [
    "listops.min_length = 4", "listops.max_length = 24", "listops.max_depth = 3", "listops.max_args = 4",
    "listops.train = 203", "listops.validation = 53", "listops.test = 101",
]  # fmt: skip
SMALL = [
    *SMALL_DATA, "encoder.layers = 1", "encoder.dim = 16", "encoder.qkv_dim = 16", "encoder.heads = 2",
    "encoder.mlp_dim = 16", "encoder.dropout = 0.1", "encoder.attention_dropout = 0.1", "cosine.warmup = 2",
    "train.steps = 20", "train.batch_size = 8", "train.log_every = 4", "train.eval_every = 8",
    "train.eval_batch_size = 32", "local.radius = 3", "performer.features = 8", "linformer.rank = 4",
    "dilated.segment = 8",
]  # fmt: skip


def pytest_collection_finish() -> None:
    """What the modules consist of stays: the garbage collector need not look at it again and again."""
    gc.freeze()


MOST_BYTES = 2 << 30  # of a process that runs tests


@pytest.fixture(scope="module", autouse=True)
def _memory_stays_small() -> Iterator[None]:
    """JAX keeps what it has traced and compiled. With gigabytes of that, a test takes longer and longer."""
    yield
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    if "jax" in sys.modules and pages * os.sysconf("SC_PAGE_SIZE") > MOST_BYTES:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture
def registry() -> Iterator[None]:
    """The registry of variants, which a test fills and leaves as it found it."""
    from lra.models.attention import VARIANTS

    before = set(VARIANTS)
    yield
    for name in set(VARIANTS) - before:
        del VARIANTS[name]


@pytest.fixture(autouse=True)
def _gin_stays_empty() -> Iterator[None]:
    """gin's global configuration decides nothing, so it must stay empty."""
    import gin

    assert gin.config_str() == ""
    yield
    assert gin.config_str() == ""
    assert gin.operative_config_str() == ""


def resolved(task: str, variant: str, protocol: str, seeds: Iterable[int] = (0,), overrides: Iterable[str] = ()) -> Any:
    """The plan of a run."""
    from lra.plan import resolve
    from lra.spec import RunSpec

    return resolve(RunSpec(task, variant, protocol, tuple(seeds), tuple(overrides)))


@pytest.fixture(scope="session")
def small_home(tmp_path_factory) -> Path:
    """An LRA_HOME in which ListOps is prepared with the parameters SMALL_DATA."""
    from lra.recipe import task_and_source
    from lra.tasks import prepared

    home = tmp_path_factory.mktemp("home")
    old = os.environ.get("LRA_HOME")
    os.environ["LRA_HOME"] = str(home)
    prepared.prepare(*task_and_source("listops", "demo", SMALL_DATA))
    if old is None:
        del os.environ["LRA_HOME"]
    else:
        os.environ["LRA_HOME"] = old
    return home


@pytest.fixture
def home(small_home, monkeypatch) -> Path:
    monkeypatch.setenv("LRA_HOME", str(small_home))
    return small_home


@pytest.fixture
def read_only(monkeypatch) -> Callable[[Path], None]:
    """Makes folders read-only for this process, even for root, whom permissions do not bind."""
    folders: list[Path] = []

    def guard(module: Any, name: str, writes: Callable[..., bool]) -> None:
        original = getattr(module, name)

        def guarded(path: Any, *arguments: Any, **options: Any) -> Any:
            inside = isinstance(path, str | Path) and any(map(Path(path).absolute().is_relative_to, folders))
            if inside and writes(*arguments, **options):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(module, name, guarded)

    for module in (builtins, io):
        guard(module, "open", lambda mode="r", *_, **__: bool({*mode} & {*"wxa+"}))
    guard(os, "open", lambda flags=0, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
    for name in ("rename", "replace", "unlink", "rmdir"):
        guard(os, name, lambda *_, **__: True)
    mkdir = os.mkdir

    def guarded_mkdir(path: Any, *arguments: Any, **options: Any) -> None:
        if not os.path.exists(path) and any(map(Path(path).absolute().is_relative_to, folders)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", guarded_mkdir)
    return lambda folder: folders.append(folder.absolute())


def needs(program: str, *names: str) -> str:
    """The path of a program; without it the test is skipped, or fails where LRA_REQUIRE_TOOLS is set, as in CI."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        message = f"there is no {program} here ({' or '.join(names)}); .ci/run installs it"
        pytest.fail(message) if os.environ.get("LRA_REQUIRE_TOOLS") else pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def pdflatex() -> str:
    return needs("LaTeX", "pdflatex")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    path = needs("Chromium", "chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # as root Chromium has no sandbox to offer
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield launched
        launched.close()


def bindings(*lines: str) -> list[str]:
    return [word for line in lines for word in ("--gin", line)]


def lra(
    *words: object, cwd: Path | None = None, python: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess:
    """Runs the command line in a process of its own."""
    command = [
        sys.executable,
        *python,
        "-c",
        "import sys; from lra.cli import main; sys.exit(main())",
        *map(str, words),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=os.environ | env, check=False)
