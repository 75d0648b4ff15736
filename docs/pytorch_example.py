"""Trains a small PyTorch model on a prepared task, and writes its answers for `lra leaderboard enter`.

    lra prepare listops --protocol demo
    python docs/pytorch_example.py listops demo answers.npz
    lra leaderboard enter --task listops --protocol demo --predictions answers.npz --about docs/pytorch_example.toml

The task has single documents and one label an example. The model is an encoder layer of PyTorch; put yours there.
"""

import argparse

import numpy as np
import torch
from torch import nn

import lra
from lra.tasks import TASKS, Split


class Model(nn.Module):
    """Embeddings, one layer, the mean over real tokens, logits."""

    def __init__(self, vocabulary: int, length: int, classes: int, width: int = 64):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layer = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """tokens: [batch, length]; lengths: [batch]; returns logits [batch, classes]."""
        real = torch.arange(tokens.shape[1]) < lengths[:, None]  # a token 0 is a token: only lengths tell padding
        hidden = self.layer(self.tokens(tokens) + self.positions, src_key_padding_mask=~real)
        hidden = torch.where(real[..., None], hidden, 0.0).sum(1) / lengths[:, None]
        return self.head(hidden)


def batch(split: Split, rows: np.ndarray | slice) -> list[torch.Tensor]:
    """Tokens, lengths and labels of some examples. The arrays are memory-mapped; only these rows are read."""
    return [torch.from_numpy(array[rows].astype(np.int64)) for array in (split.inputs, split.lengths, split.labels)]


def answers(model: Model, split: Split, size: int = 500) -> np.ndarray:
    """The predicted class of each example of a split, in its order."""
    model.eval()
    with torch.no_grad():
        starts = range(0, len(split), size)
        parts = [model(*batch(split, slice(start, start + size))[:2]).argmax(-1) for start in starts]
    return torch.cat(parts).numpy()


def train(splits: dict[str, Split], vocabulary: int, classes: int, seed: int, steps: int) -> Model:
    torch.manual_seed(seed)
    order, examples = np.random.default_rng(seed), splits["train"]
    model = Model(vocabulary, examples.inputs.shape[1], classes)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(steps):
        tokens, lengths, labels = batch(examples, np.sort(order.integers(len(examples), size=64)))
        loss = nn.functional.cross_entropy(model(tokens, lengths), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = answers(model, splits["validation"]) == splits["validation"].labels
    parameters = sum(weights.numel() for weights in model.parameters())
    print(f"seed {seed}: validation {100 * right.mean():.2f} %, {parameters:,} parameters")
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("protocol")
    parser.add_argument("out")
    parser.add_argument("--gin", action="append", default=[])
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    splits, task, seeds = lra.load_task(options.task, options.protocol, options.gin), TASKS[options.task], (0, 1, 2)
    models = [train(splits, task.vocab_size, task.num_classes, seed, options.steps) for seed in seeds]
    predictions = [answers(model, splits["test"]) for model in models]
    np.savez(options.out, seeds=seeds, predictions=predictions, labels=splits["test"].labels)


if __name__ == "__main__":
    main()
