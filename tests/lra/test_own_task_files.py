"""The file of a task of one's own: what is wrong in it is refused by its line, and a changed one is noticed."""

import re
from pathlib import Path

import pytest

from lra import template
from lra.cli import main
from lra.tasks import ARENA, TASKS

NAMED = ["--import", "my_task.py", "my_task", "--protocol", "demo"]
SMALL = "train: int = 60\n    validation: int = 20\n    test: int = 30"
TEXT = template.task("my_task").replace("train: int = 20_000", SMALL)
RETURN = "return Split(inputs, lengths, labels)"
SHOW = 'show=lambda ids: "".join(LETTERS[token] for token in ids.tolist())'
PLACE = r"my_task\.py, line \d+"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, which has no task of an earlier test."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in TASKS.keys() - ARENA:
        del TASKS[name]


def write(old: str = "", new: str = "") -> None:
    assert old in TEXT
    Path("my_task.py").write_text(TEXT.replace(old, new) if old else TEXT)


def said(capsys, *words: str) -> tuple[int, str]:
    """The exit code of a command, and what it wrote on standard error."""
    capsys.readouterr()
    code = main([*words])
    return code, capsys.readouterr().err


REGISTERED = [
    ('version="1.0.0"', 'version="../../x"', "version = '../../x' is not digits with dots"),
    ('version="1.0.0"', "version=1", "version: 1 is not a text"),
    ('version="1.0.0"', 'version=""', "version = '' is not digits"),
    ('version="1.0.0"', 'version="1.0\\n"', "is not digits"),
    ("vocab_size=len(LETTERS)", "vocab_size=257", "vocab_size = 257 is not 1 to 256"),
    ("vocab_size=len(LETTERS)", "vocab_size=0", "vocab_size = 0 is not at least 1"),
    ("vocab_size=len(LETTERS)", "vocab_size=8.0", "vocab_size: 8.0 is not a whole number"),
    ("vocab_size=len(LETTERS)", "vocab_size='8'", "vocab_size: '8' is not a whole number"),
    ('classes=("different", "same")', "classes=tuple(map(str, range(256)))", "256 classes, not 2 to 255"),
    ('classes=("different", "same")', "classes=('a',)", "1 classes"),
    ('classes=("different", "same")', "classes=('a', 'a')", "two of its classes have one name"),
    ('classes=("different", "same")', "classes='ab'", "classes: 'ab' is not a tuple of texts"),
    ('classes=("different", "same")', "classes=(0, 1)", "classes: 0 is not a text"),
    ('classes=("different", "same")', "classes=2", "classes: 2 is not a tuple of texts"),
    ("recipes=", "documents=0, recipes=", "documents = 0 is not 1 or 2"),
    ("recipes=", "picture=True, recipes=", "max_length = 32 tokens are no square"),
    ('"demo": DEMO', '"demo": 5', "recipes: 5 is not a text"),
    (SHOW, "show=None", "show = None is no function"),
    ("source=Parameters", "source=5", "source = 5 is not a class under @dataclasses.dataclass"),
    ("source=Parameters", "source=Parameters()", "is not a class under @dataclasses.dataclass"),
    ("Parameters(Probe)", "Parameters", "Parameters has no sizes"),
    ("    max_length: int = 32\n", "", "Parameters has no max_length"),
    ("max_length: int = 32", "max_length = 32", "max_length = 32 is no parameter of Parameters; write it as 'max_le"),
    ("@dataclasses.dataclass(frozen=True)\n", "", "is no parameter of Parameters; write it as 'max_length: int = 32'"),
    ("max_length: int = 32", "max_length: int = '32'", "max_length = '32' is not a whole number"),
    ("max_length: int = 32", "max_length: int = 0", "max_length = 0 is not a whole number of at least 1"),
    ("test: int = 30", "test: int = 30\n    w: float = float('nan')", "w = nan is not a number"),
    ("test: int = 30", "test: int = 30\n    w: object = object()", "w = an object is no plain value"),
    ("test: int = 30", "test: int = 30\n    w: list = dataclasses.field(default_factory=list)", "a plain default"),
    ("    def draw", "    difficulty = property(lambda self: {})\n\n    def draw", "its difficulty is a dict"),
    ("register_task(", "raise SystemExit(3)\nregister_task(", "SystemExit: 3"),
]


@pytest.mark.parametrize(("old", "new", "says"), REGISTERED)
def test_what_cannot_be_a_task_is_refused_where_it_is_registered(folder, capsys, old, new, says):
    write(old, new)
    code, err = said(capsys, "prepare", *NAMED)
    assert code
    assert re.fullmatch(rf"lra: --import .*{PLACE}: .*\n", err)
    assert says in err
    assert "my_task" not in TASKS
    assert not (folder / "home").exists()


@pytest.mark.parametrize(("name", "says"), [("encoder", "means something else"), ("local", "an attention variant has")])
def test_a_name_that_is_taken_is_refused_with_its_place(capsys, name, says):
    write('name="my_task"', f'name="{name}"')
    code, err = said(capsys, "prepare", "--import", "my_task.py", name, "--protocol", "demo")
    assert (code, name in TASKS) == (2, False)
    assert re.fullmatch(rf"lra: .*{PLACE}.*{says}.*\n", err)


def test_a_task_without_recipes_is_told_where_to_give_one(capsys):
    write('recipes={"demo": DEMO}', "recipes={}")
    code, err = said(capsys, "prepare", *NAMED)
    assert code == 2
    assert re.search(rf"give it recipes = \{{'demo': ...\}} at .*{PLACE}", err)


def test_a_constant_of_the_parameters_is_no_parameter():
    write("max_length: int = 32", "max_length: int = 32\n    SIDES: typing.ClassVar[int] = 2\n    _private = 3")
    Path("my_task.py").write_text("import typing\n" + Path("my_task.py").read_text())
    assert main(["prepare", *NAMED]) == 0


RAISED = [
    ("raise ValueError('boom')", f"{PLACE}: ValueError: boom"),
    ("1 / 0", f"{PLACE}: ZeroDivisionError: "),
    ("return self.draw(words, count, trained)", f"{PLACE}: RecursionError: "),
    ("raise SystemExit(3)", f"{PLACE}: SystemExit: 3"),
    ("open('no.txt')", f"{PLACE}: FileNotFoundError: .*no.txt"),
    ("pass", rf"draw \(.*{PLACE}\) returned None"),
    ("return inputs, lengths, labels", rf"draw \(.*{PLACE}\) returned a tuple"),
    ("return Split(inputs, lengths, labels[:-1])", rf"{PLACE}\) returned labels of shape \[4095\]"),
    ("return Split(inputs.tolist(), lengths, labels)", rf"{PLACE}\) returned a Split whose inputs are a list"),
]


@pytest.mark.parametrize(("last", "says"), RAISED)
def test_what_draw_raises_or_returns_is_blamed_on_its_line(folder, capsys, last, says):
    write(RETURN, last)
    code, err = said(capsys, "prepare", *NAMED)
    assert code == 1
    assert re.fullmatch(rf"lra: .*{says}.*\n", err)
    assert "defect" not in err
    assert not [*folder.glob("home/tasks/*/*")]


def test_what_draw_prints_does_not_stand_among_the_results(capsys):
    write(RETURN, f"print('hello')\n        {RETURN}")
    assert main(["prepare", *NAMED, "--json"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("{")
    assert "hello" in said.err


@pytest.mark.parametrize(
    ("show", "code", "says"),
    [
        ("lambda ids: '\\x1b[31mred\\x00\\nline'", 0, r"\n\\x1b\[31mred\\x00\nline\n"),
        ("lambda ids: LETTERS[99]", 1, f"{PLACE}: IndexError"),
        ("lambda ids: 5", 1, "returned an int, not a text"),
    ],
)
def test_what_show_returns_or_raises(capsys, show, code, says):
    write(SHOW, f"show={show}")
    assert main(["prepare", *NAMED]) == 0
    capsys.readouterr()
    assert main(["show", *NAMED]) == code
    said = capsys.readouterr()
    assert re.search(says, said.out + said.err)
    assert "\x1b" not in said.out


CHANGED = [
    ("train.steps = 400", "train.steps = 500", False),  # a recipe
    ("same?", "equal?", True),
    ("words.below(7, count)", "words.below(6, count)", True),
    ('"abcdefgh"', '"abcdefghi"', True),
    ('"same")', '"same", "third")', True),
]


@pytest.mark.parametrize(("old", "new", "refused"), CHANGED)
def test_a_changed_task_does_not_take_the_old_examples(capsys, old, new, refused):
    write()
    assert main(["prepare", *NAMED]) == 0
    write(old, new)
    for command in ("prepare", "show"):
        code, err = said(capsys, command, *NAMED)
        assert code == refused
        if refused:
            assert re.fullmatch(r"lra: .*raise the version of my_task .*--force\n", err)
    assert main(["prepare", *NAMED, "--force"]) == 0
    assert main(["show", *NAMED]) == 0
    write()
    text = Path("my_task.py").read_text()
    Path("my_task.py").write_text(text.replace('version="1.0.0"', 'version="1.0.1"'))
    assert main(["prepare", *NAMED]) == 0  # beside the others


def test_a_changed_module_beside_the_file_is_noticed(capsys):
    Path("letters.py").write_text("OTHER = 7\n")
    Path("my_task.py").write_text("from letters import OTHER\n" + TEXT.replace("below(7,", "below(OTHER,"))
    assert main(["prepare", *NAMED]) == 0
    Path("unrelated.py").write_text("x = 1\n")
    assert main(["show", *NAMED]) == 0
    Path("letters.py").write_text("OTHER = 6\n")
    code, err = said(capsys, "show", *NAMED)
    assert code == 1
    assert "was prepared with another text of" in err


def test_the_command_that_prepares_it_names_its_file(capsys):
    write()
    code, err = said(capsys, "show", *NAMED)
    assert code == 1
    (command,) = re.findall("run: lra (.*)", err)
    assert main(command.split()) == 0
    assert main(["show", *NAMED]) == 0
