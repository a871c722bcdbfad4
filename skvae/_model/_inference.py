"""Passes of a chunk of rows through a fitted module: embed, decode, draw, score.

Gradients are off, as `FittedModel` has it. Everything here is row-wise: what a row gets
depends on that row alone. Scores run in float64, so that they are the same to many
digits however rows are batched.
"""

import copy
import math

import numpy as np
import torch
from torch.distributions import Independent

from .._distributions import CorrelatedNormal
from .._utils._device import isolated, scoring_dtype
from . import _evidence
from ._cost import count_widest
from ._evidence import VAEOutput

# values held at a time by the widest tensor of a chunk
_CHUNK_VALUES = 1_000_000
_MAX_CHUNK_ROWS = 4096
# per-row optimisation of q: steps at most, and steps without a gain before the rate
# is quartered
_REFINE_STEPS = 2000
_REFINE_PATIENCE = 6
_REFINE_RATE = 0.1
_REFINE_LEAST_RATE = 1e-3
_REFINE_TOL = 1e-4
# the same where mean and standard deviation are asked for: near the best q the bound
# is flat, and an error of 0.01 standard deviations costs no more than 1e-4 nats
_POSTERIOR_TOL = 1e-9
_POSTERIOR_LEAST_RATE = 1e-5


@isolated()
def make_precise(module):
    """Return a copy of a module that computes in float64 where the device can."""
    precise = _convert(module, scoring_dtype(module.free.device)).eval()
    with torch.no_grad():
        precise.freeze_prior()
    return precise


def _convert(module, dtype):
    """Return a copy of a module with its numbers in another precision.

    A deep copy takes ten times as long, more than scoring a few rows does.
    """
    converted = copy.copy(module)
    converted.__dict__ = {**vars(converted)}
    for kind in ("_parameters", "_buffers"):
        tensors = {
            name: tensor.detach().to(dtype)
            if tensor is not None and tensor.is_floating_point()
            else tensor
            for name, tensor in vars(module)[kind].items()
        }
        converted.__dict__[kind] = tensors
    converted.__dict__["_modules"] = {
        name: None if child is None else _convert(child, dtype)
        for name, child in module._modules.items()
    }
    return converted


def get_chunk_size(module, n_draws=1):
    """Return a number of rows small enough for the processor's own memory."""
    width = n_draws * count_widest(module)
    return int(min(max(_CHUNK_VALUES // width, 1), _MAX_CHUNK_ROWS))


def _split_draws(module, x, noise):
    """Return the shared draws in chunks, so that memory has a bound."""
    if module.latent.enumerate(module.n_components) is not None:
        # a sign that scores are asked for: all values of z come at once
        return [noise[:1].to(x)]
    size = max(1, _CHUNK_VALUES // (count_widest(module) * len(x)))
    return noise.to(x).split(size)


def _run(module, x, noise):
    """Yield what a module says of rows, at a chunk of the shared draws at a time."""
    for block in _split_draws(module, x, noise):
        yield module(x, noise=block)


def _to_tensor(array, module):
    """Return rows as a tensor: float64, unless single precision is all that is used."""
    device = module.free.device
    # torch warns of arrays that are not writable, such as the values of data frames,
    # and refuses reversed ones
    array = np.require(array, requirements=["C", "W"])
    is_single = array.dtype == np.float32 and not module.needs_double
    dtype = torch.float32 if is_single else scoring_dtype(device)
    return torch.as_tensor(array, dtype=dtype).to(device)


def _to_float32(tensor):
    return tensor.to("cpu", torch.float32).numpy()


def embed(module, x):
    """Return the latent's point summary of rows, ``(n, n_embedded)`` float32."""
    return _to_float32(module.latent.embed(module.encode(_to_tensor(x, module))))


def locate(module, x):
    """Return the points that rows are decoded from, ``(n, n_components)`` float32."""
    return _to_float32(module.latent.locate(module.encode(_to_tensor(x, module))))


def extend(module, embedded):
    """Return z for point summaries, ``(n, n_components)``."""
    if embedded.shape[1] == module.n_components:
        return embedded
    z = module.latent.extend(_to_tensor(embedded, module), module.prior)
    return z.cpu().double().numpy()


def compute_posterior(module, x):
    """Return mean and standard deviation, ``(n, 2, n_components)`` float32."""
    posterior = module.encode(_to_tensor(x, module))
    return _to_float32(torch.stack([posterior.mean, posterior.stddev], dim=1))


def decode_mean(module, z):
    """Return E[x|z], ``(n, n_features)`` float64."""
    return module.decode(_to_tensor(z, module)).mean.cpu().double().numpy()


def decode_variance(module, z):
    """Return Var[x|z], ``(n, n_features)`` float64."""
    return module.decode(_to_tensor(z, module)).variance.cpu().double().numpy()


def draw(module, n_samples, mean):
    """Draw rows from the model: z from the prior, then x (or its mean) given z."""
    z = module.get_prior().sample((n_samples,)).reshape(n_samples, -1)
    return draw_given(module, z.to(scoring_dtype(z.device)), mean)


class Pool:
    """Draws of z from the prior, and what they say of x: the same for all rows.

    Decoded once, they cost little beside draws from every row's q(z|x), and reach what
    that leaves out.

    Parameters
    ----------
    module : VAEModule
        From `make_precise`.
    n_draws : int
    """

    def __init__(self, module, n_draws):
        prior = module.get_prior()
        z = prior.sample((n_draws,)).reshape(n_draws, 1, -1)
        self.z = z.to(scoring_dtype(z.device))  # (n_draws, 1, n_components)
        self.law = module.decode(self.z)


def _propose(module, x):
    """Return the law that z of rows with missing cells is drawn from: q(z|x), rooted.

    The best q of independent components is as wide as z given the others, and much too
    narrow for z itself where cells are missing. With its standard deviations goes the
    correlation that the linear start has for the observed cells of the row.
    """
    posterior, root = module.encode(x), module.linear_start.compute_root(x)
    if root is None or not isinstance(posterior, Independent):
        return posterior
    return CorrelatedNormal(posterior.mean, posterior.stddev.unsqueeze(-1) * root)


def _weigh(output, x, n_pool, n_draws):
    """Return log-weights p(x|z) p(z) / r(z) of draws, for the observed cells of x.

    r is the mixture of q(z|x) and p(z) that draws and pool together are from (Veach &
    Guibas 1995, the balance heuristic), so that no weight is more than a few times
    p(x|z).
    """
    share = n_pool / (n_pool + n_draws)
    log_prior = output.prior.log_prob(output.z)
    log_mixture = torch.logaddexp(
        output.posterior.log_prob(output.z) + math.log1p(-share),
        log_prior + math.log(share),
    )
    return output.log_likelihood(x) + log_prior - log_mixture


def _run_weighed(module, x, noise, pool):
    """Yield outputs with their log-weights, of draws from q(z|x) and of the pool."""
    if module.latent.enumerate(module.n_components) is not None:
        for output in _run(module, x, noise):
            yield output, output.log_weights(x) + output.log_share
        return
    posterior, prior = _propose(module, x), module.get_prior()
    counts = len(pool.z), len(noise)
    for block in _split_draws(module, x, noise):
        block = block.unsqueeze(1)
        if isinstance(posterior, CorrelatedNormal):
            z = posterior.transform(block)
        else:
            z = module.latent.draw(posterior, block)
        output = VAEOutput(posterior, prior, module.decode(z), z)
        yield output, _weigh(output, x, *counts)
    output = VAEOutput(posterior, prior, pool.law, pool.z)
    yield output, _weigh(output, x, *counts)


def impute(module, x, noise, pool):
    """Return what is expected of all cells of rows, given those observed.

    Draws of z are weighed by how well they explain the observed cells, and the weights
    divided by their sum (Mattei & Frellsen 2019, eq. 12).

    Parameters
    ----------
    module : VAEModule
        From `make_precise`.
    x : ndarray (n, n_features)
        Missing cells are NaN.
    noise : Tensor (n_draws, n_components)
    pool : Pool

    Returns
    -------
    ndarray (n, n_features), float64
    """
    x = _to_tensor(x, module)
    mean, log_total = 0.0, x.new_full((len(x),), -torch.inf)
    for output, log_weights in _run_weighed(module, x, noise, pool):
        summary = module.likelihood.summarise(output.likelihood)
        share = torch.softmax(log_weights, dim=0)
        if summary.shape[1] == 1:
            # one and the same for all rows
            found = share.mT @ summary.squeeze(1)
        else:
            found = torch.einsum("kn,knm->nm", share, summary)
        # a running mean: chunks of draws weigh as much as all of their draws
        log_found = torch.logsumexp(log_weights, dim=0)
        log_total = torch.logaddexp(log_total, log_found)
        pull = torch.exp(log_found - log_total).unsqueeze(-1)
        mean = mean + pull * (found - mean)
    return module.likelihood.conclude(mean).cpu().double().numpy()


def draw_missing(module, x, noise, pool):
    """Return one draw of all cells of rows, given those observed.

    z is one of the draws that `impute` has, chosen by its weight: sampling importance
    resampling (Rubin 1987).
    """
    x = _to_tensor(x, module)
    found = [
        (output.z.expand(-1, len(x), -1), log_weights)
        for output, log_weights in _run_weighed(module, x, noise, pool)
    ]
    z, log_weights = (torch.cat(parts) for parts in zip(*found, strict=True))
    chosen = torch.distributions.Categorical(logits=log_weights.mT).sample()
    z = z[chosen, torch.arange(len(x), device=x.device)]
    return module.decode(z).sample().cpu().double().numpy()


def propose(module, x, n_draws):
    """Return draws of z for the observed cells of one row, and log-weights.

    Half of the draws are from the prior, half from q(z|x): where the encoder is wrong
    the prior still reaches what it leaves out, and no weight is more than twice
    p(x|z) (a defensive mixture, Hesterberg 1995).

    Parameters
    ----------
    module : VAEModule
    x : ndarray (1, n_features)
    n_draws : int

    Returns
    -------
    z : Tensor (2 * n_draws, n_components)
    log_weights : Tensor (2 * n_draws,)
        Their mean weight is the evidence of the cells.
    """
    x = _to_tensor(x, module)
    prior, posterior = module.get_prior(), module.encode(x)
    z = torch.cat(
        [
            prior.sample((n_draws,)).reshape(n_draws, 1, -1).to(x),
            module.latent.draw(posterior, None, n_draws),
        ]
    )
    output = VAEOutput(posterior, prior, module.decode(z), z)
    return z.squeeze(1), _weigh(output, x, n_draws, n_draws).squeeze(1)


def draw_given(module, z, mean):
    """Return rows, or their means, given z."""
    law = module.decode(z)
    return (law.mean if mean else law.sample()).cpu().double().numpy()


def score(module, x, method, noise, search_noise=None, with_error=False):
    """Return one number a row, ``(n,)`` float64 nats, in the units of the module.

    Parameters
    ----------
    module : VAEModule
        From `make_precise`.
    x : ndarray (n, n_features)
    method : {'elbo', 'tempered', 'evidence', 'reconstruction', 'kl', 'refined'}
    noise : Tensor (n_draws, n_components)
        The block that all rows share.
    search_noise : Tensor (n_draws, n_components), default=None
        Another block, on which 'refined' optimises q.
    with_error : bool, default=False
        Return ``(n, 2)``, beside every number its Monte-Carlo standard error.
    """
    x = _to_tensor(x, module)
    if method == "refined":
        return _score_refined(module, x, noise, search_noise).cpu().numpy()
    # sums over all values of z, or means over draws
    evaluate = {
        "kl": lambda output: output.log_ratio(),
        "reconstruction": lambda output: output.log_likelihood(x),
        "tempered": lambda o: o.log_likelihood(x) - 0.5 * o.log_ratio(),
    }.get(method, lambda output: output.log_weights(x))
    found = [(evaluate(o), o.log_share) for o in _run(module, x, noise)]
    values = torch.cat([value for value, _ in found])  # (n_draws, n)
    # all values of z come at once
    log_share = found[0][1]
    is_log = method == "evidence"
    compute = _evidence.log_evidence if is_log else _evidence.average
    found = compute(values, log_share)
    if with_error and log_share is not None:
        found = torch.stack([found, torch.zeros_like(found)], dim=-1)
    elif with_error:
        measure = _evidence.compute_log_error if is_log else _evidence.compute_error
        found = torch.stack([found, measure(values, noise)], dim=-1)
    return found.cpu().double().numpy()


def score_columns(module, x, noise):
    """Return E_q[log p(x_j|z)] of every column, ``(n, n_features)`` float64."""
    x = _to_tensor(x, module)
    mean = _average(module, x, noise, lambda output: output.log_likelihood_by_column(x))
    return mean.cpu().double().numpy()


def _average(module, x, noise, evaluate):
    """Return the mean over draws of (n_draws, n, ...), a chunk of them at a time."""
    total = n_draws = 0
    for output in _run(module, x, noise):
        values = evaluate(output)
        log_share = output.log_share
        if log_share is not None:
            log_share = log_share.unsqueeze(-1)
        total = total + len(values) * _evidence.average(values, log_share)
        n_draws += len(values)
    return total / n_draws


def _score_refined(module, x, noise, search_noise):
    """Return the ELBO after optimising q for every row, never below the encoder's.

    The search runs on a block of its own: a q that suits the scoring block by chance
    gains nothing.
    """
    amortised = torch.as_tensor(score(module, x.cpu().numpy(), "elbo", noise)).to(x)
    bound, raw = _make_bound(module, x)
    best_raw = _ascend(bound, raw, search_noise.to(x))
    blocks = _split_draws(module, x, noise)
    total = sum(len(block) for block in blocks)
    refined = sum(
        len(block) / total * bound(best_raw, slice(None), block) for block in blocks
    )
    return torch.maximum(amortised, torch.nan_to_num(refined, nan=-torch.inf)).double()


def _make_bound(module, x):
    """Return the ELBO of some of the rows as a function of raw posterior outputs.

    And the raw outputs that are the encoder's posteriors.
    """
    loc, scale = module.latent.recentre(module.encode(x))

    def bound(raw, rows, block):
        posterior = module.make_posterior(raw, loc[rows], scale[rows])
        return module.complete(posterior, block.unsqueeze(1)).elbo(x[rows])

    shape = module.latent.raw_shape(module.n_components)
    return bound, x.new_zeros(len(x), *shape)


def refine_posterior(module, x, search_noise):
    """Return mean and standard deviation of the q that is best for every row.

    Returns
    -------
    ndarray (n, 2, n_components), float32
    """
    x = _to_tensor(x, module)
    bound, raw = _make_bound(module, x)
    options = {"tol": _POSTERIOR_TOL, "least_rate": _POSTERIOR_LEAST_RATE}
    raw = _ascend(bound, raw, search_noise.to(x), **options)
    posterior = module.make_posterior(raw, *module.latent.recentre(module.encode(x)))
    return _to_float32(torch.stack([posterior.mean, posterior.stddev], dim=1))


def _ascend(bound, raw, block, tol=_REFINE_TOL, least_rate=_REFINE_LEAST_RATE):
    """Maximise a row-wise bound over raw posterior outputs by Adam, row by row.

    Every row has its own step size and stops by itself, so rows do not affect each
    other.

    Parameters
    ----------
    bound : callable
    raw : Tensor (n, ...)
        Where it starts.
    block : Tensor (n_draws, n_components)
    tol : float
        Gain in nats that counts.
    least_rate : float
        Step, in standard deviations of the encoder, below which a row has converged.
    """
    n = len(raw)
    best_raw, best = raw.clone(), raw.new_full((n,), -torch.inf)
    first, second = torch.zeros_like(raw), torch.zeros_like(raw)
    rate = raw.new_full((n,), _REFINE_RATE)
    misses = torch.zeros(n, dtype=torch.long, device=raw.device)
    rows = torch.arange(n, device=raw.device)
    for step in range(1, _REFINE_STEPS + 1):
        with torch.enable_grad():
            trial = raw[rows].requires_grad_()
            value = bound(trial, rows, block)
            (gradient,) = torch.autograd.grad(value.sum(), trial)
        value, gradient = value.detach(), torch.nan_to_num(gradient)
        gained = value > best[rows] + tol
        improved = value > best[rows]
        best[rows] = torch.where(improved, value, best[rows])
        best_raw[rows[improved]] = trial.detach()[improved]
        misses[rows] = torch.where(gained, 0, misses[rows] + 1)
        stuck = rows[misses[rows] >= _REFINE_PATIENCE]
        rate[stuck] /= 4
        raw[stuck], misses[stuck] = best_raw[stuck], 0
        keep = rate[rows] >= least_rate
        rows, gradient = rows[keep], gradient[keep]
        if len(rows) == 0:
            break
        first[rows] = 0.9 * first[rows] + 0.1 * gradient
        second[rows] = 0.99 * second[rows] + 0.01 * gradient**2
        change = (first[rows] / (1 - 0.9**step)) / (
            (second[rows] / (1 - 0.99**step)).sqrt() + 1e-12
        )
        by_row = rate[rows].view(-1, *[1] * (raw.dim() - 1))
        raw[rows] = raw[rows] + by_row * change
    return best_raw


def kl_per_component(module, x, noise):
    """Return the KL of the marginals of every row, ``(n, n_components)`` nats.

    E_q[log q(z_k|x) - log p(z_k)] with the marginals of posterior and prior.
    """
    latent = module.latent
    mean = _average(
        module,
        _to_tensor(x, module),
        noise,
        lambda o: latent.log_ratio_per_component(o.posterior, o.prior, o.z),
    )
    return mean.cpu().double().numpy()


@isolated()
def as_noise(block):
    """Return a noise block (numpy) as a tensor."""
    return torch.as_tensor(np.asarray(block))
