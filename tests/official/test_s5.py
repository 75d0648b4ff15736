"""s5 against s5-pytorch 0.2.1, a port of the authors' code, in both directions.

It has both members of each conjugate pair, ours one of them; so its C is twice ours. The gate after it is ours. The
largest difference was 6e-7, of outputs up to 3.3.
"""

import numpy as np
import pytest
from flax import nnx

from lra.checks.subject import normal
from lra.models.attention.s5 import complex_of

from .ours import built, tensor, torch

theirs = pytest.importorskip("s5.s5_model")


def test_equals_the_port():
    ours, x = built("s5", 13, state=8, blocks=2), normal(2, 13, 12)
    values, c = np.asarray(complex_of(ours.eigenvalues)), np.asarray(complex_of(ours.c))
    eye = torch.eye(4, dtype=torch.complex64)
    module = theirs.S5SSM(torch.tensor(values), eye, eye, 12, 4, 1e-3, 1e-1, bcInit="dense", bidir=True)
    state = {
        "Lambda": torch.tensor(values), "B": torch.movedim(tensor(ours.b), 0, -1),
        "C": torch.tensor(2 * np.concatenate(c, -1)), "D": tensor(ours.d), "log_step": tensor(ours.log_step),
    }  # fmt: skip
    module.load_state_dict({name: value.reshape(module.state_dict()[name].shape) for name, value in state.items()})
    y = np.stack([module(tensor(sequence)).detach().numpy() for sequence in x])
    g = nnx.gelu(y)
    np.testing.assert_allclose(ours(x, np.ones((2, 13), bool)), g * nnx.sigmoid(ours.gate(g)), rtol=1e-4, atol=1e-5)
