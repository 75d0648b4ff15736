"""The recurrence from its formula in float64, and the assertions that compare all backends with it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lra.checks.subject import quick_jit
from lra.models.kernels.backends import use
from lra.models.kernels.recurrence import DIRECTIONS, diagonal_recurrence


class Case(NamedTuple):
    length: int
    channels: int
    constant: bool = False
    complex_: bool = False
    direction: str = "forward"
    dtype: Any = np.float32  # of real x
    batch: int = 2

    @property
    def tolerance(self) -> float:
        return 1e-5 if self.dtype == np.float32 else 2e-2


def draw(rng, *shape, complex_=False):
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_ else x


def problem(case: Case):
    """log_a over the whole range, 0 and -200 among its values; x; and a cotangent."""
    rng = np.random.default_rng(case.length)
    shape = (case.batch, case.length, case.channels)
    log_a = -np.exp(2 * draw(rng, *shape[2 if case.constant else 0 :]) - 3)
    if not case.constant:
        log_a = np.where(rng.random(shape) < 0.02, -200.0, log_a)
    log_a.flat[0] = 0
    if case.complex_:
        log_a = log_a + 1j * rng.uniform(-3, 3, log_a.shape)
    x = draw(rng, *shape, complex_=case.complex_)
    dh = draw(rng, case.batch, len(DIRECTIONS[case.direction]), *shape[1:], complex_=case.complex_)
    narrow = lambda y: y.astype(np.complex64 if case.complex_ else np.float32)
    return narrow(log_a), narrow(x) if case.complex_ else x.astype(case.dtype), narrow(dh)


def states(log_a, x):
    """h_i = exp(log_a_i) h_{i-1} + x_i, step by step."""
    a, h, state = np.exp(np.broadcast_to(log_a, x.shape)), np.zeros_like(x), 0
    for i in range(x.shape[1]):
        h[:, i] = state = a[:, i] * state + x[:, i]
    return h


def gradients(log_a, x, dh):
    """The gradients of log_a and x. A later step keeps of an earlier one the product of the a between them."""
    log_a = np.broadcast_to(log_a, x.shape)
    sums, later = np.cumsum(log_a, 1), np.tri(x.shape[1])[..., None] > 0
    kept = np.where(later, np.exp(np.where(later, sums[:, :, None] - sums[:, None], 0)), 0)
    dx = np.einsum("bijn,bin->bjn", kept, dh)
    before = np.pad(states(log_a, x)[:, :-1], [(0, 0), (1, 0), (0, 0)])
    return np.exp(log_a) * before * dx, dx


def expected(case: Case, log_a, x, dh):
    """h, and the gradients of log_a and x, in float64."""
    wide = lambda y: y.astype(np.complex128 if case.complex_ else np.float64)
    log_a, x, dh = map(wide, (log_a, x, dh))
    h, slopes, dx = [], 0, 0
    for way, reverse in enumerate(DIRECTIONS[case.direction]):
        flip = lambda y, reverse=reverse: np.flip(y, 1) if reverse and y.ndim > 1 else y
        h.append(flip(states(flip(log_a), flip(x))))
        slope, back = gradients(flip(log_a), flip(x), flip(dh[:, way]))
        slopes, dx = slopes + flip(slope), dx + flip(back)
    return np.stack(h, 1), slopes.sum((0, 1)) if case.constant else slopes, dx


def assert_close(computed, exact, tolerance, name):
    scale = np.abs(exact).max() or 1
    np.testing.assert_allclose(np.asarray(computed, exact.dtype), exact, rtol=0, atol=tolerance * scale, err_msg=name)


def assert_agrees(case: Case, backend: str = "xla", interpret: bool = False) -> None:
    """Values and gradients, to 1e-5 of the largest in float32 and 2e-2 in bfloat16."""
    log_a, x, dh = problem(case)

    def both(log_a, x, dh):
        with use(backend, interpret):
            h, pull = jax.vjp(lambda *y: diagonal_recurrence(*y, direction=case.direction), log_a, x)
            return h, *pull(dh.reshape(h.shape))

    computed = quick_jit(both)(log_a, x, dh)
    assert computed[0].dtype == dh.dtype
    assert computed[2].dtype == x.dtype
    exact = expected(case, log_a, x, dh)
    for name, y, z in zip(("h", "log_a", "x"), computed, exact):
        assert_close(y, z.reshape(y.shape), case.tolerance, f"{case} {name}")


def assert_maps(backend: str, interpret: bool) -> None:
    """Under vmap, each example and its gradient are as alone on XLA, with its own `a` and with one `a` for all."""
    rng = np.random.default_rng(0)
    log_a, x = -np.exp(draw(rng, 3, 5)).astype(np.float32), draw(rng, 3, 2, 9, 5).astype(np.float32)

    def slopes(log_a, x):
        total = lambda *y: jnp.sin(diagonal_recurrence(*y, direction="both")).sum()
        return jax.grad(total, (0, 1))(log_a, x)

    for axes in ((0, 0), (None, 0)):
        own = log_a if axes[0] == 0 else log_a[0]
        with use(backend, interpret):
            computed = quick_jit(jax.vmap(lambda *y: slopes(*y), axes))(own, x)
        alone = quick_jit(slopes)
        for i, y in enumerate(x):
            for name, one, exact in zip(("log_a", "x"), computed, alone(own[i] if axes[0] == 0 else own, y)):
                assert_close(one[i], np.asarray(exact), 1e-5, f"{axes} {name}")
