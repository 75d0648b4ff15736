"""Tasks with a label for each token: what is learnt and scored, and what a record keeps of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import bindings

from lra.cli import main
from lra.errors import UsageError
from lra.evaluation import Evaluator
from lra.leaderboard.board import make_board
from lra.leaderboard.integrity import contradiction
from lra.leaderboard.levels import reach
from lra.leaderboard.predictions import accuracy_by_level, by_example, pack, unpack
from lra.leaderboard.reading import read
from lra.leaderboard.row import paired, right_answers, row_of
from lra.leaderboard.sheet import sheets
from lra.leaderboard.site.index_page import index_page
from lra.leaderboard.view import View
from lra.placement import SEED, placement_of
from lra.plan import resolve
from lra.recipe import merged
from lra.spec import RunSpec
from lra.submission import faults
from lra.tasks import Split
from lra.tasks.task import fields_of
from lra.tracks import tracks
from lra.train import scored, step_functions

SIZES = [
    "hops.cells = 8",
    "hops.chains = 2",
    "hops.trained = 1",
    "hops.train = 40",
    "hops.validation = 12",
    "hops.test = 15",
]
TINY = [
    *SIZES, "encoder.layers = 1", "encoder.dim = 8", "encoder.qkv_dim = 8", "encoder.heads = 2", "encoder.mlp_dim = 8",
    "train.steps = 4", "train.batch_size = 4", "train.log_every = 2", "train.eval_every = 2", "cosine.warmup = 2",
    "cosine.cycle = 4", "train.eval_batch_size = 5",
]  # fmt: skip


def spec(*more):
    return RunSpec("hops", "linear", "probe", (0, 1), tuple(merged(TINY, more)))


def test_loss_and_right_answers_are_means_over_the_labels_of_each_example():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 7, 3)), rng.integers(-1, 3, (5, 7))
    labels[0] = [2, -1, -1, -1, -1, -1, -1]
    logits[0, 1:] = np.inf  # what has no label does not count
    logits[0, 1:, 0] = 0
    losses, right = scored(jnp.asarray(np.where(np.isfinite(logits), logits, 50), jnp.float32), jnp.asarray(labels))
    for example in range(5):
        each = [
            (np.log(np.exp(row).sum()) - row[label], row.argmax() == label)
            for row, label in zip(logits[example], labels[example])
            if label >= 0
        ]
        expected = np.mean(each, 0)
        np.testing.assert_allclose([losses[example], right[example]], expected, rtol=1e-5)


def test_a_label_a_token_needs_a_model_without_pooling_and_the_others_one_with_it():
    with pytest.raises(UsageError, match=r"hops has a label for each token.*encoder\.pool = 'mean' cannot be"):
        resolve(spec("encoder.pool = 'mean'"))
    with pytest.raises(UsageError, match=r"listops has one label an example.*encoder\.pool = 'none' cannot be"):
        resolve(RunSpec("listops", "linear", "demo", (0,), ("encoder.pool = 'none'",)))


def test_what_is_padded_otherwise_is_answered_alike():
    plan = resolve(spec("hops.cells = 128"))
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 129, 23).astype(np.int32)
    there = np.arange(128) < lengths[:, None]
    tokens = np.where(there, rng.integers(1, 9, (23, 128)), 0).astype(np.uint8)
    labels = np.where(there & (rng.random((23, 128)) < 0.5), rng.integers(0, 8, (23, 128)), -1).astype(np.int32)
    labels[:, 0] = 3
    split = Split(tokens, lengths, labels)
    placement = placement_of(2, 5)
    functions = step_functions(plan, placement)
    state = placement.put(functions.init((0, 1)), SEED)
    evaluator = Evaluator(functions, {"test": split}, 2, 5, placement)
    assert evaluator.sizes == (64, 128)
    evaluator.compile(state.params, state.buffers)
    found = evaluator("test", state.params, state.buffers, lambda: None, lambda count: None)
    for place, seed in enumerate((0, 1)):
        model = plan.fresh_model(seed)
        model.eval()
        answers = np.asarray(model(jnp.asarray(tokens), jnp.asarray(lengths)).argmax(-1))
        assert np.array_equal(found.prediction[place], np.where(labels < 0, -1, answers))
        assert found.accuracy[place] == (answers == labels)[labels >= 0].mean()


def test_parts_of_a_batch_give_the_gradients_of_the_whole():
    trained = []
    for more in ([], ["train.microbatch = 1"]):
        plan = resolve(spec("encoder.dropout = 0.0", *more))
        split = hops(plan)
        functions = step_functions(plan)
        rows = jnp.arange(8).reshape(1, 2, 4)
        keys = jax.random.split(jax.random.key(0), 2)
        state = jax.jit(functions.run)(functions.init((0, 1)), keys, 0, 1, rows, split)
        trained.append(state)
    whole, parts = trained
    np.testing.assert_allclose(whole.loss, parts.loss, rtol=1e-6)
    np.testing.assert_allclose(whole.correct, parts.correct, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), whole.params, parts.params)


def hops(plan):
    (block,) = (block for split, block in plan.source.generate() if split == "train")
    return jax.tree.map(jnp.asarray, Split(block.inputs, block.lengths, block.labels))


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(folder / "home"))
        assert main(["prepare", "hops", "--protocol", "probe", *bindings(*SIZES)]) == 0
        words = ["--task", "hops", "--variant", "linear", "--protocol", "probe", "--seeds", "0,1"]
        assert main(["run", *words, "--results", str(folder), *bindings(*TINY)]) == 0
    (path,) = (folder / "records").glob("*.json")
    return read(path)


def test_a_record_has_the_accuracy_on_each_level(record):
    difficulty = record.task.difficulty
    assert (difficulty.name, difficulty.levels) == ("hops", (0, 1, 2, 3))
    assert difficulty.trained == (True, True, False, False)
    assert difficulty.floor == (1.0, 0.5, 0.5, 0.5)
    labels = by_example(unpack(record.task.test_labels, "labels"), 15)
    bins = by_example(unpack(difficulty.test_bins, "bins"), 15)
    assert labels.shape == bins.shape == (15, 8)
    for seed in record.seeds:
        predictions = by_example(unpack(seed.predictions, "predictions"), 15)
        assert seed.test.accuracy == (predictions == labels).mean()
        assert seed.by_level == tuple((predictions == labels)[bins == level].mean() for level in range(4))


def test_a_row_counts_the_right_labels_of_each_example(record):
    row = row_of(("linear",), [record])
    answers = right_answers(row.counted)
    assert answers.labels.tolist() == 15 * [8]
    for seed in record.seeds:
        assert answers.by_seed[seed.seed].shape == (15,)
        assert answers.by_seed[seed.seed].sum() / 120 == seed.test.accuracy
    assert paired(answers, answers).p == 1.0
    one, other = (answers._replace(by_seed={0: answers.by_seed[seed]}) for seed in (0, 1))
    assert paired(one, other).by_seed[0] == pytest.approx(record.seeds[0].test.accuracy - record.seeds[1].test.accuracy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: {"by_level": (*one.seeds[0].by_level[1:], 0.5)}, "by_level of seed 0 is not what its predictions"),
        (lambda one: {"by_level": None}, "seed 0 has by_level, or not"),
        (lambda one: {"predictions": pack(np.zeros(119, int))}, "119 predictions for 120 labels"),
    ],
)
def test_a_seed_that_contradicts_its_predictions_is_found_out(record, change, says):
    import msgspec

    seed = msgspec.structs.replace(record.seeds[0], **change(record))
    assert says in contradiction(msgspec.structs.replace(record, seeds=(seed, *record.seeds[1:])))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda old: {"levels": old.levels[:3]}, "not one value a level"),
        (lambda old: {"floor": (1.0, 1e300, 0.5, 0.5)}, "not a share"),
        (lambda old: {"test_bins": pack(np.full((15, 8), 4))}, "not those of the labels"),
        (lambda old: {"test_bins": pack(np.zeros((15, 7), int))}, "not those of the labels"),
        (lambda old: {"test_bins": pack(np.zeros((15, 8), int))}, "not those of the data"),
    ],
)
def test_a_difficulty_that_is_not_that_of_the_data_is_found_out(record, change, says):
    import msgspec

    difficulty = msgspec.structs.replace(record.task.difficulty, **change(record.task.difficulty))
    task = msgspec.structs.replace(record.task, difficulty=difficulty)
    assert says in contradiction(msgspec.structs.replace(record, task=task))


def test_a_record_with_an_easier_floor_may_not_enter(record):
    import msgspec

    source = resolve(RunSpec("hops", "linear", "probe")).source
    levels = dataclasses.asdict(source.difficulty)
    for easier, found in (({}, False), ({"floor": (1.0, *[0.1] * 7)}, True)):
        difficulty = msgspec.structs.replace(record.task.difficulty, **levels | easier)
        task = msgspec.structs.replace(record.task, parameters=fields_of(source), difficulty=difficulty)
        reasons = " ".join(faults(msgspec.structs.replace(record, task=task), {}, {}))
        assert ("task.difficulty is not that of hops" in reasons) == found


def test_answers_of_tokens_are_packed_and_unpacked():
    classes = np.array([[3, -1, 0], [-1, 254, 2]])
    assert np.array_equal(by_example(unpack(pack(classes), "x"), 2), classes)
    assert np.array_equal(by_example(unpack(pack(np.array([255, 0])), "x"), 2), [255, 0]), "one label an example"
    with pytest.raises(ValueError, match="whole number"):
        pack(np.array([[-2, 0]]))
    assert accuracy_by_level(np.array([1, 1, 0]), np.array([1, 0, -1]), np.array([0, 0, 1]), 3) == (0.5, None, None)


def test_the_table_by_difficulty_has_the_seed_that_reaches_farthest_and_a_guess(record):
    import msgspec

    board = make_board([record], tracks())
    table, by_level = sheets(board)
    assert table.title.startswith("hops 1.0.0, protocol probe")
    names = [column.name for column in by_level.columns]
    assert names[-4:] == ["0", "1", "2", "3"]
    row, guess = by_level.entries
    floor = record.task.difficulty.floor
    farthest = max((seed.by_level for seed in record.seeds), key=lambda own: (reach(own, floor), sum(own)))
    assert [cell.value for cell in row.cells[-4:]] == [100 * share for share in farthest]
    assert [cell.text for cell in guess.cells[-4:]] == ["100.0", "50.0", "50.0", "50.0"]
    assert "The training examples have 0, 1 only." in by_level.caption
    page = index_page(View(board, tuple(sheets(board)), (), (), (record,), ()))
    assert "Accuracy by hops, of the seed that reaches farthest" in page
    # a record of before has no such table
    task = msgspec.structs.replace(record.task, difficulty=None)
    seeds = tuple(msgspec.structs.replace(seed, by_level=None) for seed in record.seeds)
    assert len(sheets(make_board([msgspec.structs.replace(record, task=task, seeds=seeds)], tracks()))) == 1


def test_a_level_counts_only_after_all_easier_ones():
    floor = (1.0, 0.25, 0.25)
    assert reach((0.9, 0.63, 0.62), floor) == 2  # the first is mastered by everyone
    assert reach((1.0, 0.62, 1.0), floor) == 1
    assert reach((1.0, None, 1.0), floor) == 1
