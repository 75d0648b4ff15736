"""What a step reads is the same from the device's memory and from the memory map."""

import json

import numpy as np
import pytest
from conftest import SMALL, bindings
from hypothesis import given, settings
from hypothesis import strategies as st

from lra import feed
from lra.cli import main
from lra.order import Order
from lra.placement import placement_of
from lra.tasks import Split

EXAMPLES, BATCH, SEEDS, STEPS = 23, 3, (5, 9), 17
SPLIT = Split(
    np.arange(EXAMPLES * 4, dtype=np.uint8).reshape(EXAMPLES, 4),
    np.arange(EXAMPLES, dtype=np.int32) % 5,
    np.arange(EXAMPLES, dtype=np.int32),
)
ORDER = Order(SPLIT.lengths, BATCH)


@settings(max_examples=40)
@given(
    start=st.integers(0, STEPS - 1), counts=st.lists(st.integers(1, 6)), span=st.integers(1, 20), room=st.booleans(),
    piece=st.integers(1, 400),
)  # fmt: skip
def test_every_step_reads_its_own_batch(start, counts, span, room, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "PIECE", piece)
        source = feed.Feed(SPLIT, ORDER, SEEDS, STEPS, span, feed.size(SPLIT) if room else 0, placement_of(2, BATCH))
        step, shapes = start, set()
        for wish in [*counts, *[6] * STEPS]:
            if step >= STEPS:
                break
            examples, rows, _, steps = source.piece(step)
            shapes.add((examples.inputs.shape, rows.shape))
            assert steps >= 1
            for index in range(min(wish, steps, STEPS - step)):
                for place, seed in enumerate(SEEDS):
                    labels = np.asarray(examples.labels)[rows[index, place]]
                    np.testing.assert_array_equal(labels, ORDER.rows(seed, step))
                step += 1
        source.close()
    assert step == STEPS
    assert len(shapes) == 1, "a compiled step takes one shape"
    assert room or max(inputs[0] for inputs, _ in shapes) * 12 <= max(piece, len(SEEDS) * BATCH * 12)


def test_the_room_is_that_of_the_device():
    assert 1 << 20 < feed.room(placement_of(1, 1)) < 1 << 44


def outcome(folder) -> dict:
    (path,) = (folder / "records").glob("*.json")
    record = json.loads(path.read_text())
    del record["measured"]
    return record


def test_a_run_from_the_memory_map_is_the_same_run(home, tmp_path, monkeypatch):
    words = ["run", "--task", "listops", "--protocol", "demo", "--variant", "transformer", "--seeds", "0,1"]
    words += bindings(*SMALL)
    assert main([*words, "--results", str(tmp_path / "memory")]) == 0
    held = []
    monkeypatch.setattr(feed, "room", lambda placement: 0)
    monkeypatch.setattr(feed, "PIECE", 2000)  # three steps of two seeds; 60 of the 101 test examples
    monkeypatch.setattr(
        feed.Feed, "read", lambda self, first, read=feed.Feed.read: held.append(first) or read(self, first)
    )
    assert main([*words, "--results", str(tmp_path / "map")]) == 0
    assert len(set(held)) > 4
    assert outcome(tmp_path / "map") == outcome(tmp_path / "memory")
