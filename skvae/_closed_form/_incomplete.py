"""Linear-Gaussian models of tables with missing cells: where training starts there.

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
_START_NOISE = 0.5
_SATURATED_START_NOISE = 0.02
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

    Attributes
    ----------
    values : ndarray (n_rows, n_features)
        Zero in missing cells.
    ones : ndarray (n_rows,)
        Factor of the mean in each row; the squares sum to the count.
    count : ndarray (n_rows,)
        Weight of the samples that a row stands for; in R the first row has all of it.
    patterns : ndarray (n_patterns, n_features), bool
    index : ndarray (n_rows,)
        Pattern of each row, rising.
    """

    values: np.ndarray
    ones: np.ndarray
    count: np.ndarray
    patterns: np.ndarray
    index: np.ndarray

    def iterate(self, size):
        """Yield slices of rows and the first row of every pattern in each of them."""
        for begin in range(0, len(self.values), size):
            rows = slice(begin, begin + size)
            index = self.index[rows]
            yield rows, np.flatnonzero(np.append(True, index[1:] != index[:-1]))


def _slice(n_samples, n_features):
    """Yield slices of rows that hold no more than CHUNK_VALUES cells."""
    size = max(1, CHUNK_VALUES // n_features)
    for begin in range(0, n_samples, size):
        yield slice(begin, begin + size)


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
    n_features = x.shape[1]
    observed = np.empty(x.shape, bool)
    for rows in _slice(*x.shape):
        observed[rows] = ~np.isnan(x[rows])
    patterns, index = find_patterns(observed)
    del observed
    order = np.argsort(index, kind="stable")
    n_samples = np.bincount(index, minlength=len(patterns))
    n_columns = patterns.sum(axis=1)
    is_kept = n_samples <= 2 * (n_columns + 1)
    n_rows = np.where(is_kept, n_samples, n_columns + 1)
    # rows without a value carry no information
    n_rows[n_columns == 0] = 0
    ends = np.cumsum(n_rows)
    values = np.zeros((ends[-1], n_features))
    ones, count = np.zeros((2, ends[-1]))

    def standardize(rows):
        root = np.sqrt(weight[rows])
        unit = (x[rows] - mean) / scale
        return root, np.where(np.isnan(unit), 0.0, unit) * root[:, None]

    sources = order[(is_kept & (n_columns > 0))[index[order]]]
    targets = np.flatnonzero(np.repeat(is_kept, n_rows))
    for part in _slice(len(sources), n_features):
        rows, places = sources[part], targets[part]
        ones[places], values[places] = standardize(rows)
        count[places] = weight[rows]
    last = np.cumsum(n_samples)
    for p in np.flatnonzero(~is_kept & (n_columns > 0)):
        rows = order[last[p] - n_samples[p] : last[p]]
        triangle = np.zeros((0, n_columns[p] + 1))
        for part in _slice(len(rows), n_features):
            root, unit = standardize(rows[part])
            table = np.column_stack([root, unit[:, patterns[p]]])
            triangle = np.linalg.qr(np.concatenate([triangle, table]), mode="r")
        places = slice(ends[p] - n_rows[p], ends[p])
        ones[places] = triangle[:, 0]
        values[places, patterns[p]] = triangle[:, 1:]
        count[places.start] = weight[rows].sum()
    return _Rows(values, ones, count, patterns, np.repeat(np.arange(len(ends)), n_rows))


def _expect(rows, prior, mean, loadings, noise):
    """Take the E-step: return the objective and the moments of z, 1 and x.

    Returns
    -------
    value : float
        Logarithm of the likelihood and the prior, but for a constant.
    gram : ndarray (n_features, n_components + 1, n_components + 1)
        Sums of E[(z, 1)(z, 1)'] over the rows where a column is observed.
    cross : ndarray (n_features, n_components + 1)
        Sums of x E[(z, 1)] over them.
    total : ndarray (n_components + 1, n_components + 1)
        Sum of E[(z, 1)(z, 1)'] over all rows.
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
    """What EM maximises; its parameters are (mean, transposed loadings, noise).

    Attributes
    ----------
    rows : _Rows
    prior : float
    least : ndarray (n_features,)
        Least noise variances, or the known ones.
    is_isotropic, is_known : bool
        Whether the noise has one variance, and whether that is known.
    """

    rows: _Rows
    prior: float
    least: np.ndarray
    is_isotropic: bool
    is_known: bool

    def sum_squares(self):
        """Return the sum of squares of every column, the rows of the prior included."""
        return np.einsum("ij,ij->j", self.rows.values, self.rows.values) + self.prior

    def make_start(self, n_components, count):
        """Return the leading components of the table whose missing cells are means."""
        n_features = len(self.least)
        # the bound of Ledermann (1937): beyond it, the data do not determine the noise
        is_saturated = (n_features - n_components) ** 2 < n_features + n_components
        share = _SATURATED_START_NOISE if is_saturated else _START_NOISE
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
    start=None,
    n_iter=100,
):
    """Fit a linear-Gaussian model to a table with missing cells.

    With C = W W' + Ψ, D the diagonal of the variances of the observed cells and rows of
    which the cells o are observed, it maximises

        Σ_i weight_i log N(x_io | mean_o, C_oo) - prior / 2 (log |C| + tr(C⁻¹ D)),

    as if there were `prior` more rows of independent columns. Whether a cell is missing
    may depend on the observed cells, not on its own value.

    Parameters
    ----------
    x : ndarray (n_samples, n_features)
        NaN where missing. Read a chunk of rows at a time: it may be in single precision
        or on a disk. From a large table a subsample is drawn.
    weight : ndarray (n_samples,) or None
        How many samples each row stands for; where their mean is below 1, as it is of
        shares, they are scaled to 1.
    n_components : int
        At most n_features - 1 are used; more would not raise the likelihood.
    is_isotropic : bool, default=False
        One noise variance for all columns, as in probabilistic PCA, where D too has the
        mean variance throughout; otherwise one per column, as in factor analysis.
    noise : float, default=None
        A known noise variance; None estimates it.
    floor : float, default=1e-3
        Least noise variance, as a share of the column's variance; of max(1, mean²) in a
        constant column.
    prior : float, default=2.0
        Number of rows that the prior counts for; 0 is maximum likelihood.
    start : LinearModel, default=None
        Model to continue from, with as many components.
    n_iter : int, default=100
        Steps at most.

    Returns
    -------
    model : LinearModel
        A column without a value has mean 0 and variance 1.

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
    if start is None:
        parameters = problem.make_start(n, count)
    else:
        mean, loadings = (start.mean - shift) / scale, (start.loadings / scale).T
        parameters = mean, loadings, problem.restrict(start.noise / scale**2, 1.0)
    if rows.count.sum() > 0:
        parameters = _iterate_em(problem, parameters, n_iter)
    mean, loadings, noise = parameters
    noise = noise * scale**2
    loadings = rotate((loadings * scale[:, None]).T, noise)
    return LinearModel(shift + mean * scale, loadings, noise)
