"""The tasks for other frameworks: a TFDS builder each, and a seqio Task on it, `lra_listops` and so on.

Importing this module registers them; it needs the extra `seqio`. Nothing else in the project imports it: the
examples are those of the prepared task, which the builder makes if it is not there and can be had without files.
Nothing is padded: a token 0 is a token.

    seqio.get_mixture_or_task("lra_listops").get_dataset({"inputs": 2000, "targets": 1}, "train")

Each example has its `index`: its place in the split of `lra.load_task`, since TFDS has an order of its own.
A task of pairs has `inputs1` and `inputs2` in place of `inputs`, and one with a label for each token has as many
`targets` as `inputs`. The examples are those of the task's default parameters; `register` makes a Task of others:

    small = dataclasses.replace(LISTOPS, name="listops_small", source=functools.partial(ListOps, max_length=600))
    register(small)  # lra_listops_small
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from lra.tasks import TASKS, Split, Task
from lra.tasks.prepared import folder_of, load, prepare
from lra.tasks.task import SPLITS


class TaskBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The examples of a task without padding: token ids [length]; `targets`: the label [1], or those of the tokens
    [length] with -1 where there is none; `index` []: the place in the split.
    """

    task: Task

    def _info(self) -> tfds.core.DatasetInfo:
        tokens = {name: tfds.features.Tensor(shape=(None,), dtype=np.int32) for name in names_of(self.task)}
        label = tfds.features.Tensor(shape=(None if self.task.per_token else 1,), dtype=np.int32)
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.task.summary,
            features=tfds.features.FeaturesDict({**tokens, "targets": label, "index": np.int32}),
            citation=self.task.citation,
            license=self.task.licence,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, np.ndarray]]]]:
        source = self.task.source()
        if not folder_of(self.task, source).exists():
            prepare(self.task, source)
        splits = load(self.task, source).splits
        return {split: self._generate_examples(splits[split]) for split in SPLITS}

    def _generate_examples(self, split: Split) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        names, length = names_of(self.task), split.inputs.shape[-1]
        for row in range(len(split)):
            documents = zip(split.inputs[row].reshape(-1, length), split.lengths[row].reshape(-1))
            tokens = {name: ids[:count].astype(np.int32) for name, (ids, count) in zip(names, documents)}
            count = split.lengths[row] if self.task.per_token else 1
            yield row, {**tokens, "targets": split.labels[row].reshape(-1)[:count], "index": np.asarray(row, np.int32)}


def names_of(task: Task) -> list[str]:
    """The features that hold the documents of an example."""
    return ["inputs"] if task.documents == 1 else [f"inputs{index + 1}" for index in range(task.documents)]


def register(task: Task) -> None:
    """Makes a task's builder, which TFDS finds by the name of its class, and the seqio Task `lra_NAME`.

    The examples are those of the parameters that `task.source()` gives.
    """
    name = f"lra_{task.name}"
    members = {"VERSION": tfds.core.Version(task.version), "task": task, "__module__": __name__}
    globals()[name] = type("".join(part.title() for part in name.split("_")), (TaskBuilder,), members)

    def feature(size: int) -> seqio.Feature:
        return seqio.Feature(seqio.PassThroughVocabulary(size), add_eos=False, dtype=tf.int32)

    seqio.TaskRegistry.add(
        name,
        source=seqio.TfdsDataSource(f"{name}:{task.version}", splits=SPLITS),
        preprocessors=[],
        output_features={
            **{name: feature(task.vocab_size) for name in names_of(task)},
            "targets": feature(task.num_classes),
        },
    )


for _task in TASKS.values():
    register(_task)
