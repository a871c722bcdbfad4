"""FittedModel: arrays in the units of X through a fitted module, a chunk at a time.

Memory is bounded whatever the number of rows: a chunk is cast, computed and written
into a result made once.
"""

import numpy as np
import torch

from .._columns import ColumnTable
from .._utils._device import isolated, threads_for
from . import _inference
from ._cost import count_draws, count_work
from ._evidence import make_noise
from ._inference import as_noise


def _collect(parts, n_samples):
    """Return one array from (rows, part) pairs."""
    whole = None
    for rows, part in parts:
        if whole is None:
            whole = np.empty((n_samples, *part.shape[1:]), dtype=part.dtype)
        whole[rows] = part
    return whole


# draws of z, at least, among which those of conditional draws are chosen; and as many
# from the prior
_LEAST_PROPOSALS = 5000


# draws from the prior for every draw from q(z|x) on which filled cells rest
_POOL_DRAWS = 4


class FittedModel:
    """A module, the columns it was fitted to and the noise that its scores share.

    Parameters
    ----------
    module : VAEModule
    columns : ColumnTable
    noise : pair of ndarray (n_draws, n_components)
        The block of the scores, and the one that 'refined' searches on.
    """

    def __init__(self, module, columns: ColumnTable, noise):
        self.module, self.columns = module.eval(), columns
        self.noise, self.search_noise = map(as_noise, noise)

    def _map(self, function, n_samples, n_draws=None):
        """Return the rows that a function of a slice gives, all in one array."""
        n_draws = count_draws(self.module, n_draws) if n_draws else 1
        size = _inference.get_chunk_size(self.module, n_draws)
        slices = [
            slice(begin, min(begin + size, n_samples))
            for begin in range(0, n_samples, size)
        ]
        # a third of a step's products, in a few large pieces that threads share well
        work = 4 * count_work(self.module, min(size, n_samples) * n_draws) / 3
        device = self.module.free.device
        with threads_for(work), isolated(device), torch.no_grad():
            return _collect(((rows, function(rows)) for rows in slices), n_samples)

    def embed(self, X):
        """Return the point summaries of rows, ``(n, n_embedded)`` float32."""

        def embed(rows):
            return _inference.embed(self.module, self.columns.encode(X[rows]))

        return self._map(embed, len(X))

    def compute_posterior(self, X):
        """Return mean and standard deviation, ``(n, 2, n_components)`` float32."""

        def compute(rows):
            x = self.columns.encode(X[rows])
            return _inference.compute_posterior(self.module, x)

        return self._map(compute, len(X))

    def decode(self, Z):
        """Return E[x|z], ``(n, n_features)`` float64."""

        def decode(rows):
            z = _inference.extend(self.module, Z[rows])
            return self.columns.decode(_inference.decode_mean(self.module, z))

        return self._map(decode, len(Z))

    def reconstruct(self, X):
        """Return E[x|z] at the point summaries of rows, ``(n, n_features)`` float64."""

        def reconstruct(rows):
            z = _inference.locate(self.module, self.columns.encode(X[rows]))
            return self.columns.decode(_inference.decode_mean(self.module, z))

        return self._map(reconstruct, len(X))

    def draw(self, n_samples, mean):
        """Return new rows, ``(n_samples, n_features)`` float64."""

        def draw(rows):
            x = _inference.draw(self.module, rows.stop - rows.start, mean)
            return self.columns.decode(x)

        return self._map(draw, n_samples)

    def draw_given(self, row, n_samples, mean):
        """Return new rows that agree with a row in its observed cells.

        Parameters
        ----------
        row : ndarray (1, n_features)
            In the units of X; missing cells are those to draw.
        n_samples : int
        mean : bool

        Returns
        -------
        rows : ndarray (n_samples, n_features), float64
        n_effective : float
            Effective number of the draws of z among which those of the rows were
            chosen (Kong, Liu & Wong 1994).
        """
        precise = _inference.make_precise(self.module)
        n_proposals = max(_LEAST_PROPOSALS, 2 * n_samples)
        size = min(_inference.get_chunk_size(precise), n_proposals)
        sizes = [size] * -(-n_proposals // size)
        device = self.module.free.device
        work = count_work(self.module, size)
        with threads_for(work), isolated(device), torch.no_grad():
            x = self.columns.encode(row)
            found = [_inference.propose(precise, x, size) for size in sizes]
            z, log_weights = (torch.cat(parts) for parts in zip(*found, strict=True))
            weights = torch.softmax(log_weights, dim=0)
            chosen = torch.multinomial(weights, n_samples, replacement=True)
        z = z[chosen]

        def draw(rows):
            x = _inference.draw_given(precise, z[rows], mean)
            drawn = self.columns.decode(x)
            return np.where(np.isnan(row), drawn, row)

        n_effective = float(1 / weights.square().sum())
        return self._map(draw, n_samples), n_effective

    def impute(self, X, n_draws, is_drawn):
        """Return rows with their missing cells filled, ``(n, n_features)`` float64.

        Parameters
        ----------
        X : ndarray (n, n_features)
        n_draws : int
        is_drawn : bool
            Whether cells are drawn, and not what is expected of them.
        """
        precise = _inference.make_precise(self.module)
        fill_cells = _inference.draw_missing if is_drawn else _inference.impute
        with isolated(self.module.free.device), torch.no_grad():
            pool = _inference.Pool(precise, _POOL_DRAWS * n_draws)
            noise = self.get_noise(n_draws)
            if is_drawn:
                noise = torch.randn_like(noise)

        def fill(rows):
            filled = np.array(X[rows], dtype=np.float64)
            missing = np.isnan(filled)
            some = missing.any(axis=1)
            if some.any():
                x = self.columns.encode(filled[some])
                x = fill_cells(precise, x, noise, pool)
                filled[missing] = self.columns.decode(x)[missing[some]]
            return filled

        return self._map(fill, len(X), n_draws)

    def refine_posterior(self, X):
        """Return mean and standard deviation of the best q of every row.

        Returns
        -------
        ndarray (n, 2, n_components), float32
        """
        precise = _inference.make_precise(self.module)

        def refine(rows):
            x = self.columns.encode(X[rows])
            return _inference.refine_posterior(precise, x, self.search_noise)

        return self._map(refine, len(X), len(self.search_noise))

    def get_noise(self, n_draws=None):
        """Return the block of the scores, or one of another size made from it.

        The same one at every call: it depends on the block of the fit alone.
        """
        if n_draws is None or n_draws == len(self.noise):
            return self.noise
        seed = self.noise[0].numpy().view(np.uint32).tolist()
        generator = np.random.default_rng([*seed, n_draws])
        return make_noise(n_draws, self.noise.shape[1], generator)

    def score(self, X, method, n_draws=None, with_error=False):
        """Return one number a row, ``(n,)`` float64 nats.

        Parameters
        ----------
        X : ndarray (n, n_features)
        method : str
        n_draws : int, default=None
            Size of the block; None takes that of the fit.
        with_error : bool, default=False
            Return ``(n, 2)``, beside every number its Monte-Carlo standard error.
        """
        precise = _inference.make_precise(self.module)
        noise, search_noise = self.get_noise(n_draws), self.search_noise
        n_draws = len(noise)
        if method == "refined":
            n_draws = max(n_draws, len(search_noise))

        def score(rows):
            x = self.columns.encode(X[rows])
            found = _inference.score(
                precise, x, method, noise, search_noise, with_error
            )
            if method != "kl":
                scores = found[:, 0] if with_error else found
                scores[:] = self.columns.convert_scores(scores, X[rows])
            return found

        return self._map(score, len(X), n_draws)

    def score_columns(self, X):
        """Return the reconstruction term of every cell, ``(n, n_features)`` nats."""
        precise = _inference.make_precise(self.module)

        def score(rows):
            x = self.columns.encode(X[rows])
            scores = _inference.score_columns(precise, x, self.noise)
            return self.columns.convert_cell_scores(scores, X[rows])

        return self._map(score, len(X), len(self.noise))

    def diagnose(self, X):
        """Return the KL of every component and the noise variance of every column.

        Returns
        -------
        kl : ndarray (n_components,)
        variance : ndarray (n_features,)
        """
        precise = _inference.make_precise(self.module)
        # means over rows: as many draws as a search takes tell enough
        noise = min(self.noise, self.search_noise, key=len)

        def compute(rows):
            x = self.columns.encode(X[rows])
            kl = _inference.kl_per_component(precise, x, noise)
            z = _inference.locate(precise, x)
            variance = _inference.decode_variance(precise, z)
            return np.hstack([kl, variance])

        means = self._map(compute, len(X), len(noise)).mean(axis=0)
        kl, variance = np.split(means, [self.module.n_components])
        variance = self.columns.merge(
            variance * self.columns.unit**2, self.columns.constant.variance
        )
        return np.maximum(kl, 0.0), variance
