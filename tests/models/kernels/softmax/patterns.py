"""Patterns of all kinds, for hypothesis to choose from."""

from hypothesis import strategies as st

from lra.models.kernels.softmax.pattern import Blocks, First, Pattern, SameBlock, Window

SIDES = st.none() | st.integers(0, 30)
SIZES = st.integers(1, 12)


def blocks(block: int, rows: list[set[int]]) -> Pattern:
    return Blocks(block, tuple(tuple(sorted(row)) for row in rows))


SIMPLE = st.one_of(
    st.builds(Window, SIDES, SIDES),
    st.builds(First, st.integers(0, 40)),
    st.builds(SameBlock, SIZES, SIZES),
    st.builds(blocks, SIZES, st.lists(st.sets(st.integers(0, 5)), max_size=6)),
)
PATTERNS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(lambda x, y: x | y, inner, inner),
        st.builds(lambda x, y: x & y, inner, inner),
        inner.map(lambda x: ~x),
    ),
    max_leaves=3,
)
