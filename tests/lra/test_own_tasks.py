"""Tasks of one's own: written, prepared, shown, trained and marked; and what is not as it says is refused by place."""

import dataclasses
import itertools
import re
import sys

import numpy as np
import pytest

from lra import extension
from lra.cli import main, parse
from lra.commands.sweep import grid_of
from lra.errors import UsageError, UserError
from lra.leaderboard.board import make_board
from lra.leaderboard.reading import read
from lra.plan import resolve
from lra.recipe import task_named
from lra.spec import RunSpec
from lra.tasks import ARENA, TASKS, Split, Task, outside
from lra.tasks.prepared import load, prepare
from lra.tasks.probe import Probe
from lra.tasks.task import Difficulty
from lra.tracks import tracks

FEW = ["--gin", "my_task.train = 300", "--gin", "my_task.test = 100", "--gin", "my_task.validation = 50"]
SHORT = ["--gin", "train.steps = 4", "--gin", "train.eval_every = 2", "--gin", "cosine.cycle = 4"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which has no task of an earlier test."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    """Brings back the tasks of a new process."""
    for name in TASKS.keys() - ARENA:
        del TASKS[name]


def fresh(*words: str) -> int:
    """The exit code of a command in a process that has imported nothing."""
    forget()
    return main([*words])


def test_a_task_from_the_file_that_is_written_to_its_table(folder, capsys):
    """What the README shows, with fewer examples and steps."""
    assert main(["new-task", "my_task"]) == 0
    said = capsys.readouterr().out
    for command in ("lra prepare --import my_task.py my_task --protocol demo", "lra leaderboard build"):
        assert command in said
    named = ["--import", "my_task.py", "my_task", "--protocol", "demo", *FEW]
    assert fresh("prepare", *named) == 0
    assert fresh("show", *named) == 0
    assert re.search(r"train 0: (same|different), 32 tokens\n\n[a-h]{32}\n", capsys.readouterr().out)
    run = ["--import", "my_task.py", "--task", "my_task", "--variant", "local", "--protocol", "demo", "--seeds", "0"]
    assert fresh("run", *run, *FEW, *SHORT) == 0
    assert fresh("tasks", "--import", "my_task.py") == 0
    assert "Are the first and the last letter the same?" in capsys.readouterr().out
    (record,) = map(read, (folder / "lra-results" / "records").glob("*.json"))
    (table,) = make_board([record], tracks(), arena=ARENA).tables
    assert not table.is_arenas
    assert table.title.endswith("not a task of the arena")
    assert not make_board([record], tracks(), arena=ARENA).overviews
    assert main(["leaderboard", "build"]) == 0
    assert "not a task of the arena" in (folder / "lra-results" / "leaderboard" / "index.html").read_text("utf-8")
    (path,) = (folder / "lra-results" / "records").glob("*.json")
    assert fresh("reproduce", str(path)) == 2
    assert "no task is called 'my_task'" in capsys.readouterr().err
    assert fresh("reproduce", "--import", "my_task.py", str(path)) == 0
    assert main(["leaderboard", "validate", *map(str, (folder / "lra-results" / "records").glob("*.json"))]) == 1
    said = capsys.readouterr()
    assert "there is no task 'my_task'" in said.out or "my_task" in said.err
    assert fresh("show", *named[:-2]) == 1
    assert "lra prepare --import my_task.py my_task --protocol demo" in capsys.readouterr().err


def test_a_sweep_sets_its_parameters(folder):
    main(["new-task", "my_task"])
    forget()
    words = ["sweep", "--import", "my_task.py", "--tasks", "my_task", "--variants", "local", "--protocols", "demo"]
    (spec,) = grid_of(parse([*words, *FEW])).specs(["my_task.py"])
    assert "my_task.train = 300" in spec.overrides


def test_its_recipe_counts_as_the_protocols_own(folder):
    main(["new-task", "my_task"])
    extension.load(folder / "my_task.py")
    plan = resolve(RunSpec("my_task", "local", "demo"))
    assert (plan.train.steps, plan.encoder.pool, plan.source.max_length) == (400, "first", 32)
    assert plan.encoder.positions == "sinusoidal"  # of the protocol
    with pytest.raises(UsageError, match=r"'probe' has no recipe for my_task \(it has recipes for demo\)"):
        resolve(RunSpec("my_task", "local", "probe"))


def test_a_plan_of_it_can_be_unpickled_where_it_is_not_registered(folder):
    import pickle

    main(["new-task", "my_task"])
    path = str(folder / "my_task.py")
    extension.load(folder / "my_task.py")
    text = pickle.dumps(resolve(RunSpec("my_task", "local", "demo", imports=(path,))))
    del TASKS["my_task"]
    assert pickle.loads(text).task.name == "my_task"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("listops", "a task called 'listops' is there already"),
        ("local", "is an attention variant"),
        ("my task", "is no name for a task"),
        ("train", "means something else"),
        ("numpy", "a module of Python or of an installed package"),
    ],
)
def test_a_name_that_is_taken(folder, name, says, capsys):
    assert main(["new-task", name]) != 0
    assert says in capsys.readouterr().err
    assert not [*folder.glob("*.py")]


def test_a_file_is_not_overwritten(folder, capsys):
    (folder / "my_task.py").write_text("# mine\n")
    assert main(["new-task", "my_task"]) == 1
    assert (folder / "my_task.py").read_text() == "# mine\n"


def test_a_file_that_registers_nothing_or_fails_leaves_nothing_behind(folder, capsys):
    main(["new-task", "my_task"])
    text = (folder / "my_task.py").read_text()
    (folder / "my_task.py").write_text(text + "\nraise RuntimeError('late')\n")
    with pytest.raises(UserError, match=r"my_task\.py, line \d+: RuntimeError: late"):
        extension.load(folder / "my_task.py")
    assert "my_task" not in TASKS
    (folder / "empty.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="registers no variant and no task"):
        extension.load(folder / "empty.py")
    (folder / "taken.py").write_text(text.replace('name="my_task"', 'name="listops"'))
    with pytest.raises(UsageError, match="'listops' is one of the arena's"):
        extension.load(folder / "taken.py")


def test_a_changed_file_is_run_again(folder):
    main(["new-task", "my_task"])
    path = folder / "my_task.py"
    extension.load(path)
    path.write_text(path.read_text().replace('version="1.0.0"', 'version="1.0.1"'))
    extension.load(path)
    assert TASKS["my_task"].version == "1.0.1"


def test_an_installed_package_brings_its_tasks(folder, monkeypatch, capsys):
    main(["new-task", "my_task"])
    (folder / "my_task.py").rename(folder / "packaged_task.py")
    info = folder / "packaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lra.tasks]\na = packaged_task\nb = not_there\n")
    monkeypatch.syspath_prepend(str(folder))
    outside.load_installed.cache_clear()
    try:
        assert task_named("my_task", None).summary.startswith("Are the first")
    finally:
        sys.modules.pop("packaged_task", None)
        outside.load_installed.cache_clear()
    assert "tasks of package packaged (not_there) are left out" in capsys.readouterr().err


# --- What is not as it says ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Any(Probe):
    max_length: int = 6
    train: int = 30
    validation: int = 5
    test: int = 7


LEVELS = Difficulty("steps", (1, 2), (True, True), (0.5, 0.5))


def rows(count=30, tokens=3, label=1, length=6, dtype=np.int32):
    inputs = np.zeros((count, length), np.uint8)
    inputs[count // 2, 2] = tokens
    return Split(inputs, np.full(count, length, np.int32), np.full(count, label, dtype))


def yielding(*blocks, **more):
    """A task whose source yields these blocks."""

    class Other(Any):
        def generate(self, workers=1):
            yield from blocks

    fields = {"name": "toy", "classes": ("no", "yes"), "vocab_size": 4, "source": Other, **more}
    return Task(version="1.0.0", summary="", citation="", licence="", show=str, **fields)


REST = [("validation", rows(5)), ("test", rows(7))]
WRONG = [
    ([("train", rows(29)), *REST], {}, r"says that it has .*'train': 30.* and yields .*'train': 29"),
    ([("train", rows()), ("train", rows(1)), *REST], {}, r"yields .*'train': 31"),
    ([("train", rows(tokens=4)), *REST], {}, r"train example 15, place 2: token 4 is not below vocab_size 4"),
    ([("train", rows(label=2)), *REST], {}, r"train example 0: label 2 is not one of the 2 classes"),
    ([("train", rows(label=-1)), *REST], {}, r"train example 0: label -1 is not one of the 2 classes"),
    ([("train", rows()), ("dev", rows(5))], {}, "yields a split 'dev'"),
    (
        [("train", rows(length=7)), *REST],
        {},
        r"yields inputs uint8\[30, 7\] from train example 0 on, not uint8\[30, 6\]",
    ),
    ([("train", rows(dtype=np.int64)), *REST], {}, r"yields labels int64\[30\]"),
    ([("train", rows(20)), ("train", rows(10, label=5)), *REST], {}, r"train example 20: label 5"),
    ([("train", rows()), *REST], {"per_token": True}, r"yields labels int32\[30\] .*, not int32\[30, 6\]"),
]


@pytest.mark.parametrize(("blocks", "more", "says"), WRONG)
def test_examples_that_are_not_what_the_task_says(folder, blocks, more, says):
    task = yielding(*blocks, **more)
    with pytest.raises(UserError, match=says):
        prepare(task, task.source())
    assert not [*(folder / "home" / "tasks").glob("toy*/manifest.json")]


def test_labels_in_the_padding_are_refused(folder):
    def split(count, length):
        return Split(np.zeros((count, 6), np.uint8), np.full(count, length, np.int32), np.zeros((count, 6), np.int32))

    task = yielding(("train", split(30, 4)), ("validation", split(5, 6)), ("test", split(7, 6)), per_token=True)
    with pytest.raises(UserError, match="train example 0, place 4: label 0 is not -1, beyond the length"):
        prepare(task, task.source())


def test_a_length_and_a_level_that_cannot_be(folder):
    long = dataclasses.replace(rows(), lengths=np.full(30, 7, np.int32))
    task = yielding(("train", long), *REST)
    with pytest.raises(UserError, match="length 7 is not from 0 to max_length 6"):
        prepare(task, task.source())
    binned = [
        (name, dataclasses.replace(own, bins=np.full(len(own), 2, np.uint8)))
        for name, own in [("train", rows()), *REST]
    ]
    task = yielding(*binned)
    task.source.difficulty = property(lambda self: LEVELS)
    with pytest.raises(UserError, match="bin 2 is not one of the 2 levels"):
        prepare(task, task.source())
    task = yielding(("train", rows()), *REST)
    task.source.difficulty = property(lambda self: LEVELS)
    with pytest.raises(UserError, match="yields bins NoneType"):
        prepare(task, task.source())


def test_examples_that_are_others_on_a_second_call(folder):
    calls = itertools.count()

    class Forgetful(Any):
        def generate(self, workers=1):
            yield "train", rows(tokens=next(calls))
            yield from REST

    task = dataclasses.replace(yielding(), source=Forgetful)
    with pytest.raises(UserError, match="yields other train inputs on a second call"):
        prepare(task, task.source())
    assert not [*(folder / "home" / "tasks").glob("toy*/manifest.json")]


def test_examples_that_are_as_the_task_says_are_prepared(folder):
    task = yielding(("train", rows()), *REST)
    assert prepare(task, task.source())
    assert len(load(task, task.source()).splits["train"]) == 30
