"""The tracks of the protocols that come with the project."""

import functools

from lra.leaderboard.tracks import Track

# what a protocol's files may set beside task and variant
SECTIONS = frozenset({"train", "encoder", "pair", "adamw", "rsqrt", "cosine"})


def tracks() -> dict[str, Track]:
    """The track of each protocol by name, in the order in which tables show them. Does not import JAX."""
    return {
        "paper": Track(
            name="paper",
            rules="LRA's published configurations. At most 10 % more parameters than the Transformer, no pretraining, "
            "nothing changed but the variant's own parameters, the last step is scored.",
            sections=SECTIONS,
            select="last",
            budget=0.10,
            parameters_of_reference=functools.partial(parameters_of_transformer, "paper"),
        ),
        "demo": Track(
            name="demo",
            rules="Minutes on two cores, on small data: to try things, and compared with nothing else. No "
            "pretraining, the step with the best validation accuracy is scored.",
            sections=SECTIONS,
            select="best",
            budget=None,
            parameters_of_reference=functools.partial(parameters_of_transformer, "demo"),
        ),
    }


@functools.cache
def parameters_of_transformer(protocol: str, task: str) -> int:
    """The trainable parameters of the Transformer on a task under a protocol.

    Raises:
      UsageError: there is no such task, or the protocol does not have it.
    """
    from lra.plan import make_plan  # imports JAX

    return make_plan(task, "transformer", protocol, [0]).parameters
