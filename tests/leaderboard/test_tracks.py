"""Tracks: a run that broke a rule is found out by what is in its record."""

import pytest
from made_records import make

from lra.budget import parameters_of
from lra.leaderboard.tracks import FIVE, SIX, TRACKS, breaches, settings
from lra.plan import make_plan

DEMO = "train.select = 'best'\ntrain.steps = 600\n"
PAPER = "train.select = 'last'\ntrain.steps = 600\n"


def validation(*accuracy: float) -> list:
    return [
        {"step": 200 * place, "split": "validation", "loss": [1.0], "accuracy": [share]}
        for place, share in enumerate(accuracy, 1)
    ]


def demo(**changes) -> dict:
    return make(accuracy={0: 0.5}, **{"config": DEMO, "curve": validation(0.3, 0.4, 0.5)} | changes)


def paper(**changes) -> dict:
    fair = {"config": PAPER, "protocol__name": "paper", "selection": "last step", "parameters": 8_948_746}
    return make(accuracy={0: 0.5}, **fair | changes)


def test_budget_is_the_transformers_of_protocol_paper():
    counts = parameters_of("transformer")
    assert {task: TRACKS["paper"].transformer[task] for task in SIX} == counts
    assert set(FIVE) < set(counts)


@pytest.mark.parametrize(("protocol", "variant"), [("demo", "local"), ("paper", "s5"), ("paper", "transformer")])
def test_a_run_as_the_protocol_has_it_breaks_no_rule(protocol, variant):
    """The configuration is the plan's own, so every binding of a protocol is one that the rules know."""
    plan = make_plan("listops", variant, protocol, [0])
    select, selection = plan.train.select, TRACKS[protocol].selection
    assert select == TRACKS[protocol].select
    steps = plan.train.steps
    curve = validation(0.5)
    curve[0]["step"] = steps
    record = make(
        variant, {0: 0.5}, config=plan.config, protocol__name=protocol, selection=selection, parameters=plan.parameters,
        seeds__0__step=steps, curve=curve,
    )  # fmt: skip
    assert breaches(record) == []


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (paper(parameters=int(8_948_746 * 1.11)), "11% more parameters"),
        (paper(protocol__overrides=["train.steps = 9"]), "changes the protocol (train.steps = 9)"),
        (paper(config=PAPER + "pretrain.steps = 500\n"), "sets what the protocol does not have (pretrain)"),
        (paper(selection="best validation accuracy"), "scores by best validation accuracy"),
        (paper(config=PAPER.replace("last", "best")), "scores by"),
        (paper(seeds__0__step=400), "the scored step of seed 0 is not the last step"),
        (demo(selection="last step"), "scores by last step"),
        (demo(selection="best test accuracy"), "scores by best test accuracy"),
        (demo(curve=validation(0.3, 0.6, 0.5)), "the scored step of seed 0 is not the best validation accuracy"),
        (demo(curve=[]), "the scored step of seed 0"),
        (make(protocol__name="mine"), "no track"),
    ],
)  # fmt: skip
def test_each_rule_is_held_to(record, what):
    (found,) = breaches(record)
    assert what in found


def test_what_is_allowed():
    assert breaches(paper(parameters=int(8_948_746 * 1.1))) == []
    assert breaches(paper(parameters=5)) == []
    assert breaches(demo(parameters=10**9)) == []  # no rule there
    assert breaches(demo(protocol__overrides=["local.radius = 4"])) == []
    assert breaches(demo(curve=validation(0.5, 0.4, 0.5))) == []  # equally good
    # a task without a validation split is scored at the last step
    assert breaches(paper(task__examples__validation=0)) == []


def test_bindings_over_several_lines():
    record = make(config="a.b = \\\n    'long'\nc.d = (\n    1,\n    2)\ntrain.select = 'best'\n")
    assert settings(record) == {"a.b": "'long'", "c.d": "( 1, 2)", "train.select": "'best'"}
