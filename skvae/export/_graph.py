"""What the methods of an estimator compute, as functions of tensors that are traced.

Rows come as the numbers and codes of `InputTable`: float64, NaN where a value is
missing, and -1 for a level that `fit` has not seen. A row that the estimator refuses
has NaN as its result.
"""

import copy
import math

import numpy as np
import torch

from .._columns._support import has_gaps
from .._columns._table import FARTHEST
from .._model._ensemble import make_model
from .._model._precision import leave_out_background, run_single
from .._model._score import combine, evaluate
from .._utils._missing import find_missing, missing_cells_known
from ._normal_scores import ScoreTensors

# the code of a level that `fit` has not seen
UNKNOWN = -1.0
# scores that are averages over draws, and so one pass through the network, and those
# of distances
_AVERAGES = ("elbo", "tempered", "evidence", "reconstruction", "kl")
_DISTANCES = ("pooled", "nearest")
SCORES = (*_AVERAGES, *_DISTANCES)


def make_function(estimator, method, score_method, has_missing):
    """Return a function of rows (n, n_features) that computes a method.

    `has_missing` is whether rows may have missing cells: the function is traced, and
    cannot look.
    """
    model, levels = move_to_cpu(estimator._get_model()), None
    if estimator._marks_unknown:
        levels = estimator._levels
    reader = RowReader(model, levels)
    parts = [RowModel(m) for m in getattr(model, "models", [model])]

    def compute(X):
        with missing_cells_known(has_missing):
            x, unknown, is_outside = reader.read(X.double())
            if method in ("transform", "reconstruct"):
                found = getattr(parts[0], method)(x)
                return torch.where(is_outside.unsqueeze(-1), torch.nan, found)
            if score_method in _DISTANCES:
                scores = score_distances(estimator._pooled, parts, x, score_method)
            else:
                scores = score(parts, x, score_method)
            if unknown is not None and score_method != "kl":
                scores = scores + levels.score * unknown
            scores = torch.where(is_outside, torch.nan, scores)
            if method == "score_samples":
                return scores
            decision = scores - estimator.offset_
            if method == "decision_function":
                return decision
            # a row without a score counts as an outlier
            return torch.where(decision >= 0, 1, -1)

    return compute


def make_reader(estimator):
    """Return a function of rows that hides unknown levels, or None if it has none."""
    levels = estimator._levels if estimator._marks_unknown else None
    if levels is None or not levels.codes:
        return None
    reader = RowReader(move_to_cpu(estimator._get_model()), levels)
    return lambda X: reader.read(X.double())[0]


def move_to_cpu(model):
    """Return a fitted model whose tensors are in the memory of the processor."""
    if model.module.free.device.type == "cpu":
        return model
    blocks = [model.noise, model.search_noise, model.evidence_noise]
    pairs = [
        (copy.deepcopy(part.module).cpu(), part.columns)
        for part in getattr(model, "models", [model])
    ]
    return make_model(pairs, [block.cpu() for block in blocks])


def score(parts, x, method):
    """Return the scores of rows under the mean density of several models."""
    if len(parts) == 1:
        return parts[0].score(x, method)
    scores = torch.stack([part.score(x, method) for part in parts])
    if method not in ("reconstruction", "kl"):
        return torch.logsumexp(scores, dim=0) - math.log(len(parts))
    elbos = torch.stack([part.score(x, "elbo") for part in parts])
    log_share = torch.log_softmax(elbos, dim=0)
    total = (log_share.exp() * scores).sum(dim=0)
    if method == "reconstruction":
        return total
    # that of the member
    return total + (log_share.exp() * (log_share + math.log(len(parts)))).sum(dim=0)


def score_distances(pooled, parts, x, method):
    """Return scores of distances from known rows, see `PooledScore`."""
    first = parts[0]
    near = pooled.nearest.measure(first.see(x).double())
    if method == "nearest":
        return near
    constant, less = first.compare_constant(x)
    scores = score(parts, x, "tempered") - constant
    both = torch.stack([scores, near], dim=-1)
    return pooled.pooling.pool_tensor(both) + less


class RowReader:
    """Find what a row has that `fit` has not seen, and what the estimator refuses."""

    def __init__(self, model, levels=None):
        columns, likelihood = model.columns, model.module.likelihood
        n_features = len(columns.kinds)
        self.known = {} if levels is None else levels.codes
        self.marks_unknown = levels is not None
        low, high = _find_near(columns.observed)
        is_integer, gapped = np.zeros(n_features, bool), {}
        varying = np.flatnonzero(columns.varies)
        for member, numbers in likelihood.list_groups():
            support, chosen = member.support, varying[numbers]
            lowest, highest = support.low, support.high
            if support.is_open:
                lowest = np.nextafter(lowest, np.inf)
                highest = np.nextafter(highest, -np.inf)
            low[chosen] = np.maximum(low[chosen], lowest)
            high[chosen] = np.minimum(high[chosen], highest)
            is_integer[chosen] = support.is_integer
            for column, codes in zip(chosen, support.levels or (), strict=False):
                if has_gaps(codes):
                    gapped[int(column)] = np.asarray(codes, float)
        self.low, self.high = torch.as_tensor(low), torch.as_tensor(high)
        self.integers = torch.as_tensor(np.flatnonzero(is_integer))
        self.gapped = {
            j: torch.as_tensor(np.asarray(c, float)) for j, c in gapped.items()
        }

    def read(self, X):
        """Return rows, the number of their unknown levels or None, which are refused.

        Unknown levels are missing in the rows.
        """
        unknown = None
        if self.marks_unknown and self.known:
            X, unknown = self._hide(X)
        is_beyond = (self.low > X) | (self.high < X)
        is_outside = is_beyond.any(dim=-1)
        if len(self.integers):
            # codes are places in tables, also where the result is thrown away
            X = torch.where(is_beyond, self.low, X)
        if len(self.integers):
            values = X.index_select(-1, self.integers)
            is_between = (values != values.floor()) & ~values.isnan()
            is_outside = is_outside | is_between.any(dim=-1)
        for column, codes in self.gapped.items():
            value = X[:, column]
            is_known = (value.unsqueeze(-1) == codes).any(dim=-1)
            is_outside = is_outside | ~(is_known | value.isnan())
        return X, unknown, is_outside

    def _hide(self, X):
        """Return rows without levels that `fit` has not seen, and how many they had."""
        cells, number = list(X.unbind(dim=-1)), torch.zeros_like(X[:, 0])
        for column, codes in self.known.items():
            value = cells[column]
            is_code = (value >= UNKNOWN) & (value == value.floor()) & (value < math.inf)
            is_known = (value.unsqueeze(-1) == torch.as_tensor(codes)).any(dim=-1)
            is_other = is_code & ~is_known
            cells[column] = torch.where(is_other, torch.nan, value)
            number = number + is_other
        return torch.stack(cells, dim=-1), number


def _find_near(observed):
    """Return the ends of what the estimator does not refuse as too far."""
    low, high = observed.low.astype(float), observed.high.astype(float)
    is_number = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(is_number, low, 0.0), np.where(is_number, high, 0.0)
    width = np.maximum.reduce([high - low, np.abs(low), np.abs(high)])
    reach = FARTHEST * np.where(width > 0, width, 1.0)
    largest = np.finfo(float).max
    low = np.where(is_number, low - reach, -largest)
    return low, np.where(is_number, high + reach, largest)


class RowModel:
    """What a `FittedModel` computes of rows, as functions of tensors.

    Networks are in single precision and all else in double.
    """

    def __init__(self, model):
        self.columns, self.model = model.columns, model
        self.normal_scores = ScoreTensors(model.columns.normal_scores)
        self.module = run_single(model.module, model.precise)

    def _select_varying(self, X):
        varies = self.columns.varies
        if varies.all():
            return X
        return X.index_select(-1, torch.as_tensor(np.flatnonzero(varies)))

    def encode(self, X):
        """Return rows in the units of the model, see `ColumnTable.encode`."""
        columns, rows = self.columns, self._select_varying(X)
        gapped = columns._list_gapped()
        if gapped:
            cells = list(rows.unbind(dim=-1))
            for column, codes in gapped:
                value, codes = cells[column], torch.as_tensor(np.asarray(codes, float))
                position = (codes < value.unsqueeze(-1)).sum(dim=-1)
                cells[column] = torch.where(value.isnan(), value, position)
            rows = torch.stack(cells, dim=-1)
        rows = self.normal_scores.apply(rows)
        if columns.location.any():
            rows = rows - torch.as_tensor(columns.location)
        if (columns.unit != 1).any():
            rows = rows / torch.as_tensor(columns.unit)
        return rows

    def transform(self, X):
        """Return the point summaries of rows, ``(n, n_embedded)`` float32."""
        posterior = self.module.encode_point(self.encode(X))
        z = self.module.latent.embed(posterior).float()
        unit = self.model.unit
        return z if unit is None else z * torch.as_tensor(unit)

    def see(self, X):
        """Return what the encoder sees of rows, see `FittedModel.map_inputs`."""
        return self.module.see(self.encode(X))[..., : self.module.n_inputs]

    def reconstruct(self, X):
        """Return E[x|z] at the point summaries of rows, ``(n, n_features)``."""
        module = self.module
        z = module.latent.point_estimate(module.encode_point(self.encode(X))).float()
        # columns that depend on others are found one after the other
        plain = leave_out_background(module)
        with missing_cells_known(True):
            return self.decode(plain.decode(z.double()).mean.double())

    def decode(self, x):
        """Return rows of the model in the units of X, see `ColumnTable.decode`."""
        columns = self.columns
        rows = x * torch.as_tensor(columns.unit) + torch.as_tensor(columns.location)
        rows = self.normal_scores.invert(rows)
        gapped = columns._list_gapped()
        if gapped:
            cells = list(rows.unbind(dim=-1))
            for column, codes in gapped:
                codes = torch.as_tensor(np.asarray(codes, float))
                place = cells[column].clamp(0, len(codes) - 1).unsqueeze(-1)
                # between two codes as between their positions
                share = (1 - (place - torch.arange(len(codes))).abs()).clamp(min=0)
                cells[column] = (share * codes).sum(dim=-1)
            rows = torch.stack(cells, dim=-1)
        if columns.varies.all():
            return rows
        constant = torch.as_tensor(columns.constant.values).expand(x.shape[0], -1)
        order = np.argsort(np.argsort(~columns.varies, kind="stable"), kind="stable")
        both = torch.cat([rows, constant], dim=-1)
        return both.index_select(-1, torch.as_tensor(order))

    def score(self, X, method):
        """Return one number for every row, ``(n,)`` nats, see `FittedModel.score`."""
        model, columns = self.model, self.columns
        if columns.all_constant:
            if method == "kl":
                return torch.zeros_like(X[:, 0])
            return self.score_constant(X)
        x = self.encode(X)
        if method == "evidence" and len(model.evidence_noise) != len(model.noise):
            scores = self._average(x, "evidence", model.evidence_noise)
            scores = torch.maximum(scores, self._average(x, "elbo", model.noise))
        else:
            scores = self._average(x, method, model.noise)
        if method == "kl":
            return scores
        log_unit = torch.as_tensor(np.log(columns.unit))
        missing = find_missing(x)
        if missing is not None:
            log_unit = torch.where(missing, 0.0, log_unit)
        scores = scores - log_unit.sum(dim=-1)
        if self.normal_scores.maps:
            varying = self._select_varying(X)
            scores = scores + self.normal_scores.sum_log_slopes(varying)
        if columns.varies.all():
            return scores
        others = torch.as_tensor(np.flatnonzero(~columns.varies))
        return scores + self.score_constant(X.index_select(-1, others))

    def _average(self, x, method, noise):
        if self.module.latent.enumerate(self.module.n_components) is not None:
            noise = noise[:1]
        output = self.module(x, noise=noise)
        return combine(evaluate(output, x, method), output.log_share, method).double()

    def compare_constant(self, X):
        """Return both columns of `ColumnTable.score_constant`."""
        columns = self.columns
        if columns.varies.all() and not columns.all_constant:
            return torch.zeros_like(X[:, 0]), torch.zeros_like(X[:, 0])
        if not columns.all_constant:
            others = torch.as_tensor(np.flatnonzero(~columns.varies))
            X = X.index_select(-1, others)
        usual = torch.as_tensor(columns.constant.values).expand_as(X)
        usual = torch.where(X.isnan(), torch.nan, usual)
        scores = self.score_constant(X)
        return scores, scores - self.score_constant(usual)

    def score_constant(self, X):
        """Return log p of constant columns, see `ConstantColumns.score`."""
        constant = self.columns.constant
        square = (X - torch.as_tensor(constant.values)).square()
        parts = [
            torch.as_tensor(height) - square / torch.as_tensor(width)
            for height, width in constant.list_normals()
        ]
        scores = torch.logsumexp(torch.stack(parts), dim=0)
        return torch.where(X.isnan(), 0.0, scores).sum(dim=-1)
