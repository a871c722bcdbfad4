"""FittedModel: arrays in the units of X through a fitted module, a chunk at a time.

Memory is bounded whatever the number of rows: a chunk is cast, computed and written
into a result made once. `_score`, `_impute` and `_refine` compute with its tensors.
"""

from functools import cached_property

import numpy as np
import torch

from .._columns import ColumnTable, QuantileMapping
from .._utils._device import isolated, scoring_dtype, threads_for
from .._utils._draws import draws_off
from .._utils._missing import NEUTRAL
from .._utils._seed import seeded
from ._chunks import (
    get_chunk_size,
    get_progress,
    hide_progress,
    keep_freed_memory,
    make_mixed,
    make_precise,
    to_float32,
    to_float64,
    to_tensor,
)
from ._cost import count_draws, count_widest, count_work
from ._evidence import make_noise
from ._impute import Pool, choose_n_draws, draw_cells, draw_latent, expect_cells
from ._precision import is_far, leave_out_background
from ._refine import RowPosteriors
from ._score import compute_kl_per_component, score_cells, score_refined, score_rows
from ._single_row import SingleRow

# The bound is flat near the best q: an error of 0.01 standard deviations costs no more
# than 1e-4 nats. Mean and standard deviation need a longer search than scores.
_POSTERIOR_SEARCH = {"tol": 1e-9, "least_rate": 1e-5}
# of components, in standard deviations of the prior, on which slopes are measured
_DIFFERENCE = 0.05
# recordings of single rows that are kept, and values of their widest tensor: with more
# of them little of the time is that of calling operations
_N_SINGLE, _MAX_SINGLE = 16, 2**17
# of the draws that are compared with the table
_MAPPING_SEED = 0


def _stack_moments(posterior):
    """Return mean and standard deviation, ``(n, 2, n_components)`` float32."""
    return to_float32(torch.stack([posterior.mean, posterior.stddev], dim=1))


def _refuse_latent(z, row):
    value = z[np.argmax(np.abs(z))]
    raise ValueError(
        f"Z has the value {value:g} in row {row}, too far from 0 for a finite result."
    )


class FittedModel:
    """A module, the columns it was fitted to and the noise that its scores share.

    ``noise`` are arrays (n_draws, n_components): the draws of the scores, and those on
    which 'refined' searches; a third one are the draws of 'evidence', where they are
    more than those of other scores.
    """

    def __init__(self, module, columns: ColumnTable, noise):
        self.module, self.columns = module.eval(), columns
        # of chunks of rows, by the number of draws
        self.costs = {}
        # recordings of single rows, by what is computed
        self.single_rows = {}
        self.set_noise(noise)

    def set_noise(self, noise):
        """Set the draws of scores."""
        with isolated():
            # copies: torch warns of arrays that are mapped from a file, as read-only
            blocks = [torch.tensor(np.asarray(block)) for block in noise]
        self.noise, self.search_noise, self.evidence_noise = [*blocks, blocks[0]][:3]
        self.single_rows.clear()

    @cached_property
    def precise(self):
        """The module in double precision, where the device can."""
        return make_precise(self.module)

    @cached_property
    def mixed(self):
        """The same with a decoder of draws in single precision, where it can."""
        return make_mixed(self.module, self.precise)

    # where rows are drawn, filled or decoded

    @cached_property
    def plain(self):
        """The module without what is in its density for scores alone."""
        return leave_out_background(self.module)

    @cached_property
    def plain_precise(self):
        """The same in double precision."""
        return leave_out_background(self.precise)

    @cached_property
    def plain_mixed(self):
        """The same with a decoder of draws in single precision."""
        return leave_out_background(self.mixed)

    @property
    def map(self):
        """The model of the map that this one was learned after, or itself."""
        start = self.module.linear_start
        if not self.module.is_refined:
            return self
        unit = 1 / start.ratio.cpu().double().numpy().ravel()
        columns = self.columns.rescaled(0.0, unit)
        noise = self.noise, self.search_noise, self.evidence_noise
        return FittedModel(start.map, columns, noise)

    @cached_property
    def unit(self):
        """Units of `transform` in those of the module, float32, or None if equal."""
        unit = self.module.z_unit.cpu().float().numpy()
        return None if (unit == 1).all() else unit

    def _scale(self, moments):
        """Return means and standard deviations in the units of `transform`."""
        return moments if self.unit is None else moments * self.unit

    def _map(self, function, n_samples, n_draws=None, refuse=None):
        """Return the results of a function of a slice for all rows, in one array.

        `refuse` is called with the number of a row whose result is not finite.
        """
        size, work_of_row = self._measure(n_draws)
        work = work_of_row * min(size, n_samples)
        whole, progress = None, get_progress()
        if progress is not None:
            progress.begin(n_samples)
        if size < n_samples:
            keep_freed_memory()
        # a single row has no products of numpy that threads could share
        threads = threads_for(work, uses_blas=n_samples > 1)
        with threads, isolated(self.module.free.device), torch.no_grad():
            for begin in range(0, n_samples, size):
                rows = slice(begin, min(begin + size, n_samples))
                part = function(rows)
                if refuse is not None and not np.isfinite(part).all():
                    is_bad = ~np.isfinite(part.reshape(len(part), -1)).all(axis=1)
                    refuse(begin + int(is_bad.argmax()))
                if whole is None:
                    whole = np.empty((n_samples, *part.shape[1:]), dtype=part.dtype)
                whole[rows] = part
                if progress is not None:
                    progress.advance(len(part))
        return whole

    def _measure(self, n_draws):
        """Return the rows of a chunk, and the floating-point operations of a row."""
        if n_draws not in self.costs:
            n_values = count_draws(self.module, n_draws) if n_draws else 1
            # a third of a step's products, in large pieces that threads share well
            work = 4 * count_work(self.module, n_values) / 3
            self.costs[n_draws] = get_chunk_size(self.module, n_values), work
        return self.costs[n_draws]

    def _encode(self, X, module):
        """Return rows of X in the units of the module, as a tensor."""
        return to_tensor(self.columns.encode(X), module)

    def _map_rows(self, function, X, module, n_draws=None):
        """Return the results of a function of encoded rows for all rows of X."""
        return self._map_table(
            lambda rows: function(self._encode(X[rows], module)), X, n_draws
        )

    def _map_table(self, function, X, n_draws=None):
        """Return the results of a function of a slice for all rows of X; all finite."""
        return self._map(
            function, len(X), n_draws, lambda row: self.columns.refuse_row(X[row], row)
        )

    def _run_single(self, key, function, x, n_draws=1):
        """Return a function of a single row by its recording, or None without one.

        Equal keys are to have equal functions. They are few, and of little work: there
        are no more recordings than that.
        """
        if len(x) != 1 or not x.is_cpu or is_far(x).any():
            return None
        key = *key, x.dtype
        if key not in self.single_rows:
            n_values = count_draws(self.module, n_draws) * count_widest(self.module)
            if n_values > _MAX_SINGLE or len(self.single_rows) >= _N_SINGLE:
                return None
            modules = [self.precise, self.mixed]
            self.single_rows[key] = SingleRow(function, modules)
        return self.single_rows[key](x)

    def map_rows(self, function, X):
        """Return a function of rows in the units of the module, for all rows of X."""
        return self._map_rows(lambda x: to_float64(function(x)), X, self.module)

    def map_inputs(self, function, X):
        """Return a function of what the encoder sees of rows, for all rows of X.

        Those are ``(n, n_inputs)``: rows as the likelihood represents them, centred and
        scaled, with expected values where they are missing.
        """
        precise = self.precise

        def compute(x):
            return to_float64(function(precise.see(x)[..., : precise.n_inputs]))

        with hide_progress():
            return self._map_rows(compute, X, precise)

    def embed(self, X):
        """Return the point summaries of rows, ``(n, n_embedded)`` float32."""
        precise = self.precise

        def embed(x):
            return precise.latent.embed(precise.encode_point(x))

        def encode(x):
            found = self._run_single(("embed",), embed, x)
            return self._scale(to_float32(embed(x) if found is None else found))

        return self._map_rows(encode, X, precise)

    def compute_posterior(self, X):
        """Return mean and standard deviation, ``(n, 2, n_components)`` float32."""
        precise = self.precise

        def encode(x):
            return self._scale(_stack_moments(precise.encode(x, keeps_point=True)))

        return self._map_rows(encode, X, precise)

    def refine_posterior(self, X):
        """Return the same of the best q of every row, ``(n, 2, n_components)``."""
        precise, noise = self.precise, self.search_noise

        def refine(x):
            posteriors = RowPosteriors(precise, x)
            raw = posteriors.maximize(noise.to(x), **_POSTERIOR_SEARCH)
            return self._scale(_stack_moments(posteriors.make(raw)))

        return self._map_rows(refine, X, precise, len(noise))

    def _locate(self, x, module):
        """Return the z that rows are decoded from, rounded to single precision."""
        z = to_float32(module.latent.point_estimate(module.encode_point(x)))
        return to_tensor(z, module)

    def _decode(self, z):
        """Return E[x|z] in the units of X."""
        return self.columns.decode(to_float64(self.plain.decode(z).mean))

    def decode(self, Z):
        """Return E[x|z] for point summaries, ``(n, n_features)`` float64."""
        module = self.module

        def decode(rows):
            z = to_tensor(Z[rows], module)
            if self.unit is not None:
                z = z / module.z_unit
            if Z.shape[1] != module.n_components:
                z = module.latent.invert_embedding(z, module.prior)
                z = z.to(scoring_dtype(z.device))
            return self._decode(z)

        return self._map(decode, len(Z), refuse=lambda row: _refuse_latent(Z[row], row))

    def reconstruct(self, X):
        """Return E[x|z] at the point summaries of rows, ``(n, n_features)`` float64."""
        return self._map_rows(
            lambda x: self._decode(self._locate(x, self.module)), X, self.module
        )

    def _draw(self, module, z, mean):
        """Return rows given z, or their means, in the units of X."""
        likelihood = module.decode(z)
        x = likelihood.mean if mean else likelihood.sample()
        return self.columns.decode(to_float64(x))

    def draw(self, n_samples, mean):
        """Return new rows, ``(n_samples, n_features)`` float64."""

        def draw(rows):
            n = rows.stop - rows.start
            z = self.module.get_prior().sample((n,)).reshape(n, -1)
            return self._draw(self.plain, z.to(scoring_dtype(z.device)), mean)

        return self._map(draw, n_samples)

    @cached_property
    def quantile_mapping(self):
        """The mapping of drawn numbers to the quantiles of the table."""
        marginals = self.columns.marginals
        if marginals is None:
            return QuantileMapping({})
        pairs = self.columns.list_scored()
        if marginals.quantiles:
            with hide_progress(), seeded(_MAPPING_SEED, self.module.free.device):
                drawn = self.draw(marginals.n_draws, mean=False)
            pairs |= marginals.compare(drawn).pairs
        return QuantileMapping(pairs)

    def draw_given(self, row, n_samples, mean):
        """Return new rows that agree with one, (1, n_features), in its observed cells.

        They are ``(n_samples, n_features)`` float64. The second result is the effective
        number of the draws of z from which those of the rows were chosen.
        """
        precise = self.plain_precise
        work = count_work(self.module, get_chunk_size(precise))
        with threads_for(work), isolated(self.module.free.device), torch.no_grad():
            x = self._encode(row, precise)
            z, cells, n_effective = draw_latent(precise, x, n_samples)

        def draw(rows):
            if cells is None:
                drawn = self._draw(precise, z[rows], mean)
            else:
                chosen = cells[rows]
                if mean:
                    likelihood, missing = precise.decode(z[rows]), x.isnan()
                    value = torch.where(missing, NEUTRAL, x)
                    chosen, _ = likelihood.complete(value, missing, mean=True)
                drawn = self.columns.decode(to_float64(chosen))
            return np.where(np.isnan(row), drawn, row)

        def refuse(_):
            self.columns.refuse_row(row[0], 0)

        return self._map(draw, n_samples, refuse=refuse), n_effective

    def impute(self, X, n_draws, is_drawn):
        """Return rows with missing cells filled, ``(n, n_features)`` float64.

        ``n_draws=None`` takes as many as means need.
        """
        precise, mixed = self.plain_precise, self.plain_mixed
        if n_draws is None:
            n_draws = choose_n_draws(precise)
        module = precise if is_drawn else mixed
        with isolated(self.module.free.device), torch.no_grad():
            pool = Pool(module, n_draws, is_drawn)
            noise = self.get_noise(n_draws)
            if is_drawn:
                noise = torch.randn_like(noise)

        def complete(x):
            if is_drawn:
                return draw_cells(precise, x, noise, pool)
            # nothing is drawn any more
            with draws_off():
                return self._run_mixed(expect, x, modules=(mixed, precise))

        def expect(module, x):
            own = pool if module is mixed else pool.decoded_by(module)
            return expect_cells(module, x, noise, own)

        def fill(rows):
            filled = np.array(X[rows], dtype=np.float64)
            missing = np.isnan(filled)
            some = missing.any(axis=1)
            if some.any():
                x = self._encode(filled[some], precise)
                cells = to_float64(complete(x))
                filled[missing] = self.columns.decode(cells)[missing[some]]
            return filled

        return self._map_table(fill, X, n_draws)

    def get_noise(self, n_draws=None, number=0):
        """Return the draws of the scores, or other ones of a number.

        They are the same at every call, and depend on the draws of the fit alone. There
        are several blocks of as many draws, numbered from 1 on.
        """
        if n_draws is None or (n_draws == len(self.noise) and not number):
            return self.noise
        # of the draws of the fit, also where fewer were chosen
        seed = self.evidence_noise[0].numpy().view(np.uint32).tolist()
        generator = np.random.default_rng([*seed, n_draws, *[number] * bool(number)])
        return make_noise(n_draws, self.noise.shape[1], generator)

    def score(self, X, method, n_draws=None, with_error=False):
        """Return one number for every row, ``(n,)`` float64 nats.

        The method is one of `score_rows`, or 'refined'; ``n_draws=None`` takes the
        number of the fit. ``with_error`` gives ``(n, 2)``, beside every number its
        Monte-Carlo standard error.
        """
        precise, mixed, run = self.precise, self.mixed, self._run_mixed
        noise, search_noise = self.get_noise(n_draws), self.search_noise
        # the bound of fewer draws is less tight
        more = (
            self.evidence_noise if method == "evidence" and n_draws is None else noise
        )
        is_refined, n_given = method == "refined", n_draws
        n_draws = max(len(more), len(search_noise) if is_refined else 1)

        def average(x, method, noise, with_error=False):
            def compute(x):
                return score_rows(mixed, x, method, noise, with_error)

            # not the number of draws alone: those of 'evidence' are others by default
            key = method, n_given, with_error
            found = self._run_single(key, compute, x, len(noise))
            if found is None:
                found = run(score_rows, x, method, noise, with_error)
            return found

        def score(rows):
            x = self._encode(X[rows], precise)
            if is_refined:
                found = score_refined(precise, x, noise, search_noise, mixed)
            else:
                found = average(x, method, more, with_error)
            if more is not noise:
                # never below the ELBO, which is of other draws
                scores = found[:, 0] if with_error else found
                torch.maximum(scores, average(x, "elbo", noise), out=scores)
            found = to_float64(found)
            if self.columns.all_constant:
                # the rows carry no information about z
                found[:] = 0.0
            if method != "kl":
                scores = found[:, 0] if with_error else found
                scores[:] = self.columns.convert_scores(scores, X[rows])
            return found

        return self._map_table(score, X, n_draws)

    def compute_elbo(self, X, noise):
        """Return the ELBO of rows for given draws, in the units of the model."""

        def score(rows):
            x = self._encode(X[rows], self.precise)
            return to_float64(self._run_mixed(score_rows, x, "elbo", noise))

        return self._map(score, len(X), len(noise))

    def _run_mixed(self, function, x, *args, modules=None):
        """Return a function of the mixed module and rows; of the precise one for some.

        Those are rows far from all others, whose squares overflow in single precision.
        """
        mixed, precise = modules or (self.mixed, self.precise)
        found = function(mixed, x, *args)
        if self.mixed is not self.precise:
            # a background keeps densities finite
            far = is_far(x) | ~found.isfinite().reshape(len(x), -1).all(dim=1)
            if far.any():
                found[far] = function(precise, x[far], *args)
        return found

    def score_columns(self, X):
        """Return the reconstruction term of every cell, ``(n, n_features)`` nats."""

        def score(rows):
            x = self._encode(X[rows], self.precise)
            scores = to_float64(self._run_mixed(score_cells, x, self.noise))
            return self.columns.convert_cell_scores(scores, X[rows])

        return self._map_table(score, X, len(self.noise))

    def measure_unit(self, X):
        """Return how far E[x|z] moves per unit of every component, (n_components,).

        The root mean square over rows of the length of ∂E[x|z]/∂z_k, by central
        differences; columns in units of their standard deviation.
        """
        module, width = self.plain, _DIFFERENCE * self.module.latent.unit
        steps = width * torch.eye(module.n_components)

        def compute(x):
            z = self._locate(x, module)
            step = steps.to(z).unsqueeze(1)  # (n_components, 1, n_components)
            ahead, behind = (
                torch.cat(module.likelihood.summarise_groups(module.decode(z + s)), -1)
                for s in (step, -step)
            )
            slope = (ahead - behind) / (2 * width)
            scale = module.linear_start.cast(z.dtype).input_scale
            if scale is not None and scale.shape[-1] == slope.shape[-1]:
                slope = slope * scale
            return to_float64(slope.square().sum(dim=-1).mT)

        return np.sqrt(self._map_rows(compute, X, module, len(steps)).mean(axis=0))

    def diagnose(self, X):
        """Return the KL of every component and the noise variance of every column."""
        precise = self.precise
        # means over rows: the fewer draws are enough
        noise = min(self.evidence_noise, self.search_noise, key=len)

        def compute(x):
            kl = compute_kl_per_component(precise, x, noise)
            variance = self.plain_precise.decode(self._locate(x, precise)).variance
            return np.hstack([to_float64(kl), to_float64(variance)])

        # variances may be infinite, those of Student's t are
        found = self._map(lambda rows: compute(self._encode(X[rows], precise)), len(X))
        means = found.mean(axis=0)
        kl, variance = np.split(means, [self.module.n_components])
        if self.columns.all_constant:
            kl = np.zeros_like(kl)
        variance = self.columns.merge(
            variance * self.columns.units_of_columns**2,
            self.columns.constant.variance,
        )
        return np.maximum(kl, 0.0), variance
