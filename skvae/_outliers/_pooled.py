"""PooledScore: the model's score of a row and its distance from others, as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._utils._lazy_rows import select_rows
from ._calibration import RowScores, collect_scores
from ._nearest import NearestRows
from ._pooling import Pooling

# the score of the model
_METHOD = "tempered"


def _stack_parts(scores, model, nearest, rows):
    """Return scores of varying columns, of distances and of constant columns."""
    constant, less = model.columns.score_constant(rows).T
    return np.stack([scores - constant, nearest.score(model, rows), less], axis=-1)


@dataclass(frozen=True)
class PooledScore:
    """The rows of a fit, and how their distances are pooled with scores of the model.

    Constant columns, which a distance does not see, count apart.
    """

    nearest: NearestRows
    pooling: Pooling

    @classmethod
    def learn(cls, model, data, array, weight, kept):
        """Return that of a fit, scores of its rows, and held-out ones with weights.

        `array` and `weight` are those of all rows of positive weight, `kept` says which
        of them were trained on. How far a row is, the model says.
        """
        nearest = NearestRows.of(model, select_rows(array, kept), weight[kept])

        def measure(rows, fold_model=model):
            return _stack_parts(fold_model.score(rows, _METHOD), model, nearest, rows)

        parts = measure(array)
        held_out, held_out_weight = collect_scores(data, measure, parts, weight)
        pooled = cls(nearest, Pooling.of(parts[kept, :2], weight[kept]))
        found = pooled._list_scores(parts, weight)
        return pooled, found, pooled._list_scores(held_out, held_out_weight)

    def _list_scores(self, parts, weight):
        if parts is None:
            return None
        return RowScores(self.combine(parts), weight, parts[:, 0] + parts[:, 2])

    def combine(self, parts):
        """Return scores from those of model, distance and constant columns."""
        return self.pooling.pool(parts[:, :2]) + parts[:, 2]

    def score(self, model, array, n_draws=None, with_error=False):
        """Return the scores of rows, ``(n,)``, or ``(n, 2)`` with standard errors."""
        found = model.score(array, _METHOD, n_draws, with_error)
        scores, errors = np.moveaxis(found, -1, 0) if with_error else (found, None)
        parts = _stack_parts(scores, model, self.nearest, array)
        pooled = self.combine(parts)
        if not with_error:
            return pooled
        # by the delta method; a distance has no error
        return np.stack(
            [pooled, errors * self.pooling.weigh(parts[:, :2])[:, 0]], axis=-1
        )
