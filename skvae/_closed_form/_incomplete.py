"""Linear-Gaussian models of tables with missing cells.

x = mean + W z + noise is fitted to the observed cells alone, by EM. For complete tables
`_linear` has closed forms. All is float64 numpy; nothing here knows about networks.
"""

from dataclasses import dataclass

import numpy as np

from ._linear import LinearModel, find_patterns, invert_precisions, rotate
from ._moments import CHUNK_VALUES, Covariance, compute_moments, compute_share

# multiplications of one step; beyond, a subsample of rows is enough
_MAX_STEP_WORK = 5e8
# rows of this subsample at least, whatever they cost
_MIN_ROWS = 300
# EM has converged where two successive steps gain less, in nats per row
_LEAST_GAIN = 1e-6
# steps that an extrapolation uses
_MEMORY = 8
# share of the noise where EM starts: high, since EM raises a small noise slowly; low,
# which is faster, where the components alone can give any covariance
_INIT_NOISE = 0.5
_SATURATED_INIT_NOISE = 0.02
# largest noise of an extrapolation, as a logarithm of the column's variance
_MAX_LOG_NOISE = 5.0
# variances below so much of the squared mean are rounding errors
_ROUNDING = 1e-28


@dataclass(frozen=True)
class _Rows:
    """Standardised rows sorted by pattern, which is the set of their observed cells.

    The likelihood of Gaussian rows depends on their number, sums and products alone.
    Many rows of one pattern are thus replaced by the triangle R of [ones, values] = QR,
    which has as many rows as columns.
    """

    values: np.ndarray  # (n_rows, n_features), zero in missing cells
    ones: np.ndarray  # (n_rows,), factors of the mean; their squares sum to the count
    count: np.ndarray  # (n_rows,), weights; the first row of R has that of all its rows
    patterns: np.ndarray  # (n_patterns, n_features), bool
    index: np.ndarray  # (n_rows,), the pattern of each row, rising

    def iterate(self, size):
        """Yield slices of rows and the first row of every pattern in each of them."""
        for begin in range(0, len(self.values), size):
            rows = slice(begin, begin + size)
            index = self.index[rows]
            yield rows, np.flatnonzero(np.append(True, index[1:] != index[:-1]))


def _choose_scale(count, mean, variance, floor, is_isotropic):
    """Return the unit of every column and the least noise variance in such units."""
    is_constant = variance <= _ROUNDING * mean**2
    least = np.where(is_constant, floor * np.maximum(mean**2, 1.0), variance)
    least[count == 0] = 1.0
    if is_isotropic:
        varies = least if is_constant.all() else variance[count > 0]
        return np.full(len(mean), np.sqrt(varies.mean())), np.full(len(mean), floor)
    # a constant column consists of noise alone
    return np.sqrt(least), np.where(is_constant, 1.0, floor)


def _gather(x, weight, mean, scale):
    """Return the standardised rows of x, sorted and, pattern by pattern, reduced."""
    observed = ~np.isnan(x)
    patterns, index = find_patterns(observed)
    ones = np.sqrt(weight)
    values = (x - mean) / scale * ones[:, None]
    values[~observed] = 0.0
    order = np.argsort(index, kind="stable")
    n_samples, n_columns = np.bincount(index), patterns.sum(axis=1)
    is_many = n_samples > 2 * (n_columns + 1)
    # rows without a value carry no information
    kept = order[(~is_many & (n_columns > 0))[index[order]]]
    parts = [(values[kept], ones[kept], weight[kept], index[kept])]
    ends = np.cumsum(n_samples)
    for p in np.flatnonzero(is_many & (n_columns > 0)):
        rows = order[ends[p] - n_samples[p] : ends[p]]
        table = np.column_stack([ones[rows], values[rows][:, patterns[p]]])
        triangle = np.linalg.qr(table, mode="r")
        reduced, count = np.zeros((len(triangle), x.shape[1])), np.zeros(len(triangle))
        reduced[:, patterns[p]] = triangle[:, 1:]
        count[0] = weight[rows].sum()
        parts.append((reduced, triangle[:, 0], count, np.full(len(triangle), p)))
    values, ones, count, index = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(index, kind="stable")
    return _Rows(values[order], ones[order], count[order], patterns, index[order])


def _expect(rows, prior, mean, loadings, noise):
    """Take the E-step: return the objective and the moments of z, 1 and x.

    The objective is the logarithm of the likelihood and the prior, but for a constant.
    With v = (z, 1): `gram`, ``(n_features, n_components + 1, n_components + 1)``, and
    `cross`, ``(n_features, n_components + 1)``, are the sums of E[v v'] and x E[v] over
    the rows where a column is observed; `total` is the sum of E[v v'] over all rows.
    """
    n_features, n = loadings.shape
    root = np.sqrt(noise)
    unit_loadings = loadings / root[:, None]
    log_noise = np.log(noise)
    gram = np.zeros((n_features, (n + 1) ** 2))
    cross = np.zeros((n_features, n + 1))
    total = np.zeros((n + 1, n + 1))
    value = 0.0
    size = max(1, CHUNK_VALUES // (n_features + (n + 1) ** 2))
    for part, begin in rows.iterate(size):
        values, ones = rows.values[part], rows.ones[part]
        is_shared = len(begin) < len(values)
        sizes = np.diff(begin, append=len(values))
        place = np.repeat(np.arange(len(begin)), sizes) if is_shared else slice(None)
        observed = rows.patterns[rows.index[part][begin]].astype(float)
        covariance, log_det = invert_precisions(unit_loadings, observed)
        u = (values - np.outer(ones, mean)) / root * observed[place]
        inner = u @ unit_loadings
        z = (covariance[place] @ inner[:, :, None])[:, :, 0]
        count = np.add.reduceat(rows.count[part], begin)
        distance = np.vdot(u, u) - np.vdot(inner, z)
        value -= 0.5 * (distance + count @ (log_det + observed @ log_noise))
        z = np.column_stack([z, ones])
        products = z[:, :, None] * z[:, None, :]
        if is_shared:
            products = np.add.reduceat(products, begin)
        products[:, :n, :n] += count[:, None, None] * covariance
        gram += observed.T @ products.reshape(len(products), -1)
        cross += values.T @ z
        total += products.sum(axis=0)
    gram = gram.reshape(n_features, n + 1, n + 1)
    if prior > 0:
        # rows sqrt(prior) · I that have no mean and stand for `prior` samples
        covariance, log_det = invert_precisions(unit_loadings, np.ones((1, n_features)))
        inner = np.sqrt(prior) * unit_loadings / root[:, None]
        z = inner @ covariance[0]
        distance = prior * (1 / noise).sum() - np.vdot(inner, z)
        value -= 0.5 * (distance + prior * (log_det[0] + log_noise.sum()))
        products = prior * covariance[0] + z.T @ z
        gram[:, :n, :n] += products
        cross[:, :n] += np.sqrt(prior) * z
        total[:n, :n] += products
    return value, gram, cross, total


@dataclass(frozen=True)
class _Problem:
    """What EM maximises; its parameters are (mean, transposed loadings, noise)."""

    rows: _Rows
    prior: float
    least: np.ndarray  # (n_features,), least noise variances, or the known ones
    is_isotropic: bool
    is_known: bool  # whether the noise is

    def sum_squares(self):
        """Return the sum of squares of every column, the rows of the prior included."""
        return np.einsum("ij,ij->j", self.rows.values, self.rows.values) + self.prior

    def initialize(self, n_components, count):
        """Return the leading components of the table whose missing cells are means."""
        n_features = len(self.least)
        # the bound of Ledermann (1937): beyond it, the data do not determine the noise
        is_saturated = (n_features - n_components) ** 2 < n_features + n_components
        share = _SATURATED_INIT_NOISE if is_saturated else _INIT_NOISE
        divisor = np.maximum(count + self.prior, 1e-300)
        covariance = Covariance.from_root(self.rows.values / np.sqrt(divisor))
        values, vectors = covariance.top_eigenpairs(n_components, 1.0)
        loadings = vectors * np.sqrt((1 - share) * np.maximum(values, 0.0))
        noise = self.sum_squares() / divisor - (loadings**2).sum(axis=1)
        return np.zeros_like(noise), loadings, self.restrict(noise, 1.0)

    def restrict(self, rest, count):
        """Return the noise variances for sums of squares of the noise."""
        if self.is_known:
            return self.least
        count = np.broadcast_to(count, rest.shape)
        if self.is_isotropic:
            noise = np.full_like(rest, rest.sum() / count.sum())
        else:
            noise = rest / np.where(count > 0, count, 1.0)
        return np.maximum(noise, self.least)

    def step(self, parameters):
        """Return the objective, per row, and the parameters that EM leads to.

        The covariance of z is a parameter as well, absorbed by W at once: this changes
        no likelihood and saves most steps (parameter expansion, Liu, Rubin & Wu 1998).
        """
        value, gram, cross, total = _expect(self.rows, self.prior, *parameters)
        n = cross.shape[1] - 1
        count, n_weighted = gram[:, n, n].copy(), total[n, n]
        # a column without a value: every weight is a solution
        gram[count == 0, n, n] = 1.0
        if self.prior == 0:
            gram[count == 0, :n, :n] = np.eye(n)
        weight = np.linalg.solve(gram, cross[:, :, None])[:, :, 0]
        rest = np.maximum(self.sum_squares() - (weight * cross).sum(axis=1), 0.0)
        noise = self.restrict(rest, count + self.prior)
        loadings, mean = weight[:, :n], weight[:, n]
        centre = total[:n, n] / n_weighted
        spread = total[:n, :n] - np.outer(centre, centre) * n_weighted
        spread = np.linalg.cholesky(spread / (n_weighted + self.prior))
        image = mean + loadings @ centre, loadings @ spread, noise
        return value / n_weighted, image

    def pack(self, parameters):
        """Return parameters as one vector."""
        mean, loadings, noise = parameters
        return np.concatenate([mean, loadings.ravel(), np.log(noise)])

    def unpack(self, vector):
        """Return the parameters in a vector."""
        n = len(self.least)
        log_noise = np.minimum(vector[-n:], _MAX_LOG_NOISE)
        noise = self.least if self.is_known else np.exp(log_noise)
        loadings = vector[n:-n].reshape(n, -1)
        return vector[:n], loadings, np.maximum(noise, self.least)


def _extrapolate(points, images):
    """Extrapolate the points, given their images by EM (Anderson 1965).

    It is the combination of the last images, with weights that sum to 1, in which the
    changes image - point cancel best.
    """
    images = np.array(images)
    rest = images - np.array(points)
    change = np.diff(rest, axis=0)
    inner = change @ change.T
    inner[np.diag_indices(len(inner))] += 1e-10 * np.trace(inner) + 1e-300
    share = np.linalg.solve(inner, change @ rest[-1])
    return images[-1] - share @ np.diff(images, axis=0)


def _iterate_em(problem, parameters, n_iter):
    """Return the best parameters that extrapolated steps of EM lead to."""
    value, image = problem.step(parameters)
    points, images = [problem.pack(parameters)], [problem.pack(image)]
    n_small = 0
    for _ in range(n_iter):
        proposal = image
        if len(points) > 1:
            proposal = problem.unpack(_extrapolate(points, images))
        new_value, new_image = problem.step(proposal)
        if not new_value >= value and len(points) > 1:
            # too far: EM itself never falls
            points, images, proposal = [], [], image
            new_value, new_image = problem.step(proposal)
        n_small = n_small + 1 if new_value - value < _LEAST_GAIN else 0
        parameters, value, image = proposal, new_value, new_image
        points = [*points[1 - _MEMORY :], problem.pack(parameters)]
        images = [*images[1 - _MEMORY :], problem.pack(image)]
        if n_small == 2:
            break
    return parameters


def fit_incomplete(
    x,
    weight,
    n_components,
    *,
    is_isotropic=False,
    noise=None,
    floor=1e-3,
    prior=2.0,
    init=None,
    n_iter=100,
):
    """Fit a linear-Gaussian model to a table with missing cells.

    With C = W W' + Ψ, D the diagonal of the variances of the observed cells and rows of
    which the cells o are observed, it maximises

        Σ_i weight_i log N(x_io | mean_o, C_oo) - prior / 2 (log |C| + tr(C⁻¹ D)),

    as if there were `prior` more rows of independent columns. Whether a cell is missing
    may depend on the observed cells, not on its own value.

    At most n_features - 1 components are used, which can give any covariance. With
    `is_isotropic` all columns have one noise variance, and D has the mean variance
    throughout; `noise` is a known one. `floor` is the least noise as a share of a
    column's variance, or of max(1, mean²) in a constant column. EM continues from the
    model `init`, if given. A column without a value has mean 0 and variance 1.

    References
    ----------
    .. [1] Rubin & Thayer (1982), EM algorithms for ML factor analysis.
    .. [2] Ilin & Raiko (2010), Practical approaches to principal component analysis in
       the presence of missing values, section 3.
    .. [3] Liu, Rubin & Wu (1998), Parameter expansion to accelerate EM, section 4.
    .. [4] Walker & Ni (2011), Anderson acceleration for fixed-point iterations.
    """
    n_samples, n_features = x.shape
    n = min(n_components, n_features - 1)
    weight = np.ones(n_samples) if weight is None else np.asarray(weight, float)
    # weights that sum to 1 would count for nothing beside the prior
    weight = weight / min(weight.mean(), 1.0)
    n_kept = int(_MAX_STEP_WORK / (n_features * (64 + (n + 1) ** 2)))
    n_kept = max(n_kept, _MIN_ROWS)
    if n_kept < n_samples:
        kept = np.random.default_rng(0).choice(n_samples, n_kept, replace=False)
        kept.sort()
        x, weight = x[kept], weight[kept]
    count = weight.sum() * compute_share(x, weight)
    shift, deviation = compute_moments(x, weight)
    variance = np.where(count > 0, deviation**2, 0.0)
    scale, least = _choose_scale(count, shift, variance, floor, is_isotropic)
    if noise is not None:
        least = noise / scale**2
    rows = _gather(x, weight, shift, scale)
    problem = _Problem(rows, prior, least, is_isotropic, noise is not None)
    if init is None:
        parameters = problem.initialize(n, count)
    else:
        mean, loadings = (init.mean - shift) / scale, (init.loadings / scale).T
        parameters = mean, loadings, problem.restrict(init.noise / scale**2, 1.0)
    if rows.count.sum() > 0:
        parameters = _iterate_em(problem, parameters, n_iter)
    mean, loadings, noise = parameters
    noise = noise * scale**2
    loadings = rotate((loadings * scale[:, None]).T, noise)
    return LinearModel(shift + mean * scale, loadings, noise)


def fill_by_draws(x, n_components=10, n_fitted=1000, n_iter=20):
    """Return rows whose missing cells are draws given the others.

    They are from a linear-Gaussian model fitted to `n_fitted` of the rows, at most, so
    that columns keep their relations.
    """
    if not np.isnan(x).any() or x.shape[1] < 2:
        return x
    model = fit_incomplete(x[:n_fitted], None, n_components, n_iter=n_iter)
    return model.draw_missing(x, np.random.default_rng(0))
