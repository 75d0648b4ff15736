"""The law of ListOps in plain Python."""

import dataclasses
import itertools
import random
from collections.abc import Iterator

import numpy as np
from examples import decode

from lra.tasks import Split
from lra.tasks.listops import ListOps

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
SPLITS = ("train", "validation", "test")
FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}
SHORT = ListOps(min_length=3, max_length=40, max_depth=4, max_args=5, train=3_000, validation=150, test=100, seed=7)
TINY = dataclasses.replace(SHORT, train=12, validation=4, test=3)

Tree = int | list  # a digit, or [operator, argument, ...]


# --- The law, literally ----------------------------------------------------------------------------------------


def draw(rng: random.Random, spec: ListOps, depth: int = 1) -> tuple[Tree, int]:
    """LRA's generate_tree: a tree and its length, in which an operator and its bracket count as two."""
    if depth == spec.max_depth or rng.random() > 0.25:
        return rng.randrange(10), 1
    tree, length = [rng.choice(OPERATORS)], 2
    for _ in range(rng.randint(2, spec.max_args)):
        argument, tokens = draw(rng, spec, depth + 1)
        tree.append(argument)
        length += tokens
    return tree, length


def parse(text: str) -> Tree:
    """The only expression in a text like "[MAX 4 3 ]"."""

    def expression(words: Iterator[str], word: str) -> Tree:
        if word in OPERATORS:
            return [word, *(expression(words, word) for word in iter(lambda: next(words), "]"))]
        assert word in set("0123456789")
        return int(word)

    words = iter(text.split())
    tree = expression(words, next(words))
    assert list(words) == []
    return tree


def worth(tree: Tree) -> int:
    if isinstance(tree, int):
        return tree
    operator, *arguments = tree[0], *map(worth, tree[1:])
    return {
        "[MIN": min,
        "[MAX": max,
        "[MED": lambda values: int(np.median(values)),
        "[SM": lambda values: sum(values) % 10,
    }[operator](arguments)


def nodes(tree: Tree) -> Iterator[tuple[int, Tree]]:
    """All subtrees, each with the depth of its root."""
    left = [(1, tree)]
    while left:
        depth, node = left.pop()
        yield depth, node
        if isinstance(node, list):
            left += [(depth + 1, argument) for argument in node[1:]]


def tokens(tree: Tree) -> list[str]:
    return [str(tree)] if isinstance(tree, int) else [tree[0], *itertools.chain(*map(tokens, tree[1:])), "]"]


def trees_of(split: Split) -> list[Tree]:
    return [parse(decode(row[:length])) for row, length in zip(split.inputs, split.lengths)]
