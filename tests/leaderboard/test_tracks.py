"""Tracks: a record shows whether its run broke a rule."""

import dataclasses

import pytest
from made_records import TRACKS, make

from lra.errors import UserError
from lra.leaderboard import tracks
from lra.leaderboard.config import OF_OLD, bindings_of, identity_sha256, values
from lra.leaderboard.record import Record

DEMO = "train.select = 'best'\ntrain.steps = 240\n"
PAPER = "train.select = 'last'\ntrain.steps = 240\n"


def validation(*accuracy: float) -> list:
    return [
        {"step": 80 * place, "split": "validation", "loss": [1.0], "accuracy": [share]}
        for place, share in enumerate(accuracy, 1)
    ]


def demo(**changes) -> Record:
    return make(accuracy={0: 0.5}, **{"config": DEMO, "curve": validation(0.3, 0.4, 0.5)} | changes)


def paper(**changes) -> Record:
    fair = {"config": PAPER, "protocol__name": "paper", "selection": "last step", "parameters": 100_000}
    return make(accuracy={0: 0.5}, **fair | changes)


def breaches(record: Record) -> list[str]:
    return [*tracks.breaches(record, TRACKS.get(record.protocol.name))]


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (paper(parameters=int(100_000 * 1.11)), "11% more parameters"),
        (paper(protocol__overrides=["adamw.b1 = 0.8"]), "changes the protocol (adamw.b1 = 0.8)"),
        (paper(config=PAPER + "pretrain.steps = 500\n"), "sets what the protocol does not have (pretrain)"),
        (paper(selection="best validation accuracy"), "scores by best validation accuracy"),
        (paper(config=PAPER.replace("last", "best")), "scores by"),
        (paper(seeds__0__step=400), "the scored step of seed 0 is not the last step"),
        (demo(selection="last step"), "scores by last step"),
        (demo(selection="best test accuracy"), "scores by best test accuracy"),
        (demo(curve=validation(0.3, 0.6, 0.5)), "the scored step of seed 0 is not the best validation accuracy"),
        (demo(curve=[]), "the scored step of seed 0"),
        (demo(config=DEMO + "local.radius = @evil.f()\n"), "its configuration cannot be read (local.radius = @evil"),
        (demo(config=DEMO + "# a remark\n"), "is no plain binding"),
        (make(protocol__name="mine"), "no track"),
    ],
)  # fmt: skip
def test_each_rule_is_held_to(record, what):
    (breach,) = breaches(record)
    assert what in breach


def test_a_variant_that_fails_checks_is_not_ranked_but_breaks_no_rule():
    checks = {"lra": "0.0.1", "holds": ["shape"], "fails": {}, "excepted": {"order": "the paper's"}, "not_run": {}}
    assert breaches(demo(variant__checks=checks)) == []
    failing = demo(variant__checks=checks | {"fails": {"padding content": "it leaks", "causality": "it looks ahead"}})
    assert breaches(failing) == ["fails the checks causality, padding content"]
    assert [*tracks.broken(failing, TRACKS["demo"])] == []


def test_what_is_allowed():
    assert breaches(paper(parameters=int(100_000 * 1.1))) == []
    assert breaches(paper(parameters=5)) == []
    assert breaches(demo(parameters=10**9)) == []  # no rule there
    assert breaches(demo(protocol__overrides=["local.radius = 4"])) == []
    assert breaches(demo(curve=validation(0.5, 0.4, 0.5))) == []  # equally good
    # a task without a validation split is scored at the last step
    assert breaches(paper(task__examples__validation=0)) == []


SETS = {"train.steps": "240", "adamw.learning_rate": "0", "local.radius": "8", "linear.epsilon": "1e-6"}


def changed(record: Record) -> tracks.Changes:
    """What differs from a protocol whose files set SETS."""
    return tracks.changes(record, dataclasses.replace(TRACKS["demo"], values=lambda task, variant: SETS))


def test_only_values_that_differ_from_the_protocols_are_changes():
    config = DEMO + "local.radius = 8\nadamw.learning_rate = 0.0\n"
    assert changed(demo(config=config)) == ((), (), ())
    # the protocol's own values, given by hand in whatever notation
    assert changed(demo(config=config, protocol__overrides=["train.steps=240", "local.radius =  8"])) == ((), (), ())
    other = config.replace("240", "24e1").replace("radius = 8", "radius = 4")
    for by_hand in ([], ["local.radius = 4", "train.steps = 240.0"]):  # or because the files were others at that time
        assert changed(demo(config=other, protocol__overrides=by_hand)) == (("radius = 4",), (), ())
    longer = demo(config=config.replace("240", "999"))
    assert changed(longer) == ((), (), ("train.steps = 999",))
    assert "changes the protocol (train.steps = 999)" in " ".join(
        tracks.breaches(longer, dataclasses.replace(TRACKS["demo"], values=lambda task, variant: SETS))
    )


def test_settings_from_outside_are_changes_and_break_no_rule():
    record = demo(config=DEMO + "environment.XLA_FLAGS = '--xla_cpu_enable_fast_math=true'\n")
    assert changed(record) == ((), ("XLA_FLAGS = '--xla_cpu_enable_fast_math=true'",), ())
    assert breaches(record) == []


def test_the_reference_is_asked_for_its_parameters_only_where_there_is_a_budget():
    asked = []
    count = lambda task: asked.append(task) or 50
    for budget, expected in ((None, []), (0.1, ["listops"])):
        track = dataclasses.replace(TRACKS["demo"], budget=budget, parameters_of_reference=count)
        said = tracks.breaches(demo(parameters=60), track)
        assert (asked, ["20% more" in line for line in said]) == (expected, [True] * len(expected))


def test_a_task_that_a_budgeted_protocol_does_not_have_is_not_ranked():
    def unknown(task: str) -> int:
        raise UserError(f"no task is called '{task}'")

    (said,) = tracks.breaches(paper(), dataclasses.replace(TRACKS["paper"], parameters_of_reference=unknown))
    assert said == "its parameters cannot be compared with the Transformer's (no task is called 'listops')"


# --- Configurations --------------------------------------------------------------------------------------------


def test_bindings_over_several_lines():
    text = "a.b = \\\n    'long'\nc.d = (\n    1,\n    2)\ntrain.select = 'best'\n"
    assert bindings_of(text) == {"a.b": "'long'", "c.d": "(1, 2)", "train.select": "'best'"}


def test_configurations_of_before_schema_3_name_no_optimiser():
    old, new = ({"parameter_tree_sha256": digest} for digest in (None, "f" * 64))
    assert values(make(config="a.b = 1e-3\n", **old)) == OF_OLD | {"train.optimizer": "@adamw()", "a.b": "0.001"}
    assert values(make(config="train.optimizer = 'x'\n", **old)) == OF_OLD | {"train.optimizer": "'x'"}
    assert values(make(config="a.b = 1e-3\n", **new)) == OF_OLD | {"a.b": "0.001"}


def test_what_an_old_configuration_lacks_is_what_was_the_only_choice():
    old, new = make(config="a.b = 1\n"), make(config="a.b = 1\ntrain.compute_type = 'float32'\n")
    assert identity_sha256(old) == identity_sha256(new)
    assert identity_sha256(make(config="a.b = 1\ntrain.compute_type = 'bfloat16'\n")) != identity_sha256(old)


def test_another_compute_type_is_not_the_protocol():
    line = "train.compute_type = 'bfloat16'"
    (said,) = breaches(demo(protocol__overrides=[line], config=f"{line}\n{DEMO}"))
    assert said == f"changes the protocol ({line})"


def test_the_identity_is_what_a_configuration_says_not_how():
    identity = lambda config: identity_sha256(make(config=config))
    same = {
        identity(text)
        for text in ("a.b = 1e-3\nc.d = 'x'\n", 'c.d = "x"\na.b = 0.001\n', "c.d = \\\n    'x'\na.b = .001\n")
    }
    assert len(same) == 1
    assert identity("a.b = 0.001\nc.d = 'y'\n") not in same
    # what cannot be read stands for itself
    assert identity("import x\n") == make(config="import x\n").config_sha256
