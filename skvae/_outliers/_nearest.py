"""NearestRows: how near rows are to the nearest of those that were fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .._utils._lazy_rows import select_rows

# rows known, and cells of them, of which a few rows may have more
_MAX_ROWS, _MAX_CELLS, _LEAST_ROWS = 4096, 2**22, 256
# neighbours whose distances are averaged
_N_NEIGHBORS = 2
# squares of distances, as shares of that from the mean, below which rows are equal:
# what is known of rows is in single precision
_ROUNDING = 1e-12
# standard deviations beyond which rows are equally far, in single precision too
_FARTHEST = 1e30
# standard deviations: the logarithm of a distance of 0 is finite
_LEAST = 1e-3
# distances of a block that stays in the cache
_BLOCK_VALUES = 2**19


def _choose_some(n_samples, n_features):
    """Return the numbers of some rows, spread evenly over a table."""
    n_rows = max(_LEAST_ROWS, _MAX_CELLS // max(n_features, 1))
    n_rows = min(n_samples, _MAX_ROWS, n_rows)
    return np.linspace(0, n_samples - 1, n_rows).round().astype(int)


@dataclass(frozen=True)
class NearestRows:
    """Rows as the encoder sees them: standardised, with expected values where missing.

    ``inputs`` are ``(n_rows, n_inputs)`` float32. A row is not its own neighbour: one
    row to which it is equal does not count.
    """

    inputs: np.ndarray

    @classmethod
    def of(cls, model, array, weight):
        """Return some rows of a table that a model was trained on.

        A weight is the number of equal rows that a row is.
        """
        chosen = _choose_some(*array.shape)
        rows = select_rows(array, chosen)
        inputs = model.map_inputs(lambda u: u, rows).astype(np.float32)
        share = weight[chosen] / weight[chosen].min()
        # more equal rows than are looked at make no difference
        repeats = np.clip(share.round().astype(int), 1, _N_NEIGHBORS + 1)
        return cls(np.repeat(inputs, repeats, axis=0))

    def score(self, model, array):
        """Return minus the logarithms of distances from the nearest rows, ``(n,)``."""
        known = torch.from_numpy(self.inputs).to(model.precise.free)
        size = max(1, _BLOCK_VALUES // len(known))

        def measure(u):
            blocks = u.to(known).split(size)
            return torch.cat([measure_nearness(block, known) for block in blocks])

        return model.map_inputs(measure, array)

    def measure(self, u):
        """Return the same of what the encoder sees of rows, ``(n, n_inputs)``."""
        return measure_nearness(u, torch.as_tensor(self.inputs).to(u))


def measure_nearness(u, known):
    """Return minus the logarithms of mean distances from the nearest rows, ``(n,)``.

    ``u`` (n, n_inputs) and ``known`` (n_rows, n_inputs) are tensors.
    """
    if not u.shape[-1]:
        return u.new_zeros(len(u))
    u = u.clamp(-_FARTHEST, _FARTHEST)
    length = u.square().sum(dim=-1, keepdim=True)
    squares = torch.addmm(known.square().sum(dim=-1), u, known.mT, alpha=-2) + length
    n_neighbors = min(_N_NEIGHBORS, len(known) - 1)
    squares = squares.topk(n_neighbors + 1, largest=False).values
    # where rows are equal, what is left is rounding
    is_equal = squares <= _ROUNDING * (1 + length)
    distances = torch.where(is_equal, 0.0, squares).sqrt()
    is_own = is_equal[:, :1]
    nearest = torch.where(is_own, distances[:, 1:], distances[:, :-1])
    return -(nearest.mean(dim=-1) + _LEAST).log()
