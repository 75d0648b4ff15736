"""Planted implementations are left out, each for its own reason, and the fastest right one is taken."""

import threading

import planted
import pytest

from lra.proof.call import Call
from lra.proof.supervise import supervise

CALL = Call("planted op", "planted", planted.Static(), planted.SHAPES, 1)
PATIENCE = 15  # seconds; only the one that hangs takes them


@pytest.fixture(scope="module")
def proof():
    names = [name for name in planted.IMPLEMENTATIONS if name != "xla"]
    proofs = {}
    assert supervise([(CALL, names)], "cpu", proofs.__setitem__, threading.Event(), limit=600, patience=PATIENCE) == ""
    return proofs[0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("one_percent", "the output is off by 1 %"),
        ("wrong_gradient", "the gradient of w is off by 1 %"),
        ("nan_beyond", "the output is not finite at [0, 1001, 0] and 1,583 more places"),
        ("past_the_end", "the output is not finite at [0, 1099, 0] and 15 more places"),
        ("refused", "refused by the compiler (raised ValueError: Only interpret mode is supported on CPU backend"),
        ("too_large", "out of memory: takes "),
        ("hanging", f"took more than {PATIENCE} s"),
        ("aborting", "ended its process (signal SIGABRT"),
    ],
)
def test_what_is_planted_is_left_out_for_its_own_reason(proof, name, reason):
    (verdict,) = [verdict for verdict in proof.verdicts if verdict.implementation == name]
    assert verdict.reason.startswith(reason)
    assert not verdict.times


def test_the_fastest_right_one_is_taken(proof):
    times = {verdict.implementation: verdict.seconds for verdict in proof.verdicts if verdict.times}
    assert times.keys() == {"xla", "fast", "slow"}
    assert times["fast"] < times["xla"] < times["slow"]
    assert proof.chosen == "fast"


def test_a_proof_that_cannot_be_run_says_why():
    proofs = {}
    problem = supervise([(CALL, ["fast"])], "abacus", proofs.__setitem__, threading.Event(), limit=600, patience=60)
    assert "its process could not run here (exit code 1: JAX_PLATFORMS=abacus" in problem
    assert not proofs


def test_the_time_for_all_has_an_end():
    proofs = {}
    assert (
        supervise([(CALL, ["fast"])], "cpu", proofs.__setitem__, threading.Event(), limit=0.1)
        == "the 0 s for it were over"
    )
    assert not proofs


def test_a_proof_that_is_stopped_ends():
    stop = threading.Event()
    stop.set()
    assert supervise([(CALL, ["fast"])], "cpu", {}.__setitem__, stop) == "it was stopped"
