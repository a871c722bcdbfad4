"""Scores of rows, cells and components: averages over shared draws from q(z|x).

Every function takes a module from `make_precise`, and rows in its units.
"""

import torch

from . import _evidence
from ._chunks import run_blocks, split_draws, split_latent_draws
from ._refine import RowPosteriors


def score_rows(module, x, method, noise, with_error=False):
    """Return one number for every row, ``(n,)`` nats, from draws that all rows share.

    The method is 'elbo', 'tempered', 'evidence', 'reconstruction' or 'kl'.
    ``with_error`` gives ``(n, 2)``, beside every number its Monte-Carlo standard error.
    """
    outputs = run_blocks(module, x, noise)
    found = [(evaluate(output, x, method), output.log_share) for output in outputs]
    values = torch.cat([value for value, _ in found])  # (n_draws, n)
    # not None: all values of z, in a single block
    log_share = found[0][1]
    scores = combine(values, log_share, method)
    if not with_error:
        return scores
    if log_share is not None:
        error = torch.zeros_like(scores)
    else:
        is_log = method == "evidence"
        measure = _evidence.compute_log_error if is_log else _evidence.compute_error
        error = measure(values, noise)
    return torch.stack([scores, error], dim=-1)


def evaluate(output, x, method):
    """Return what a method of `score_rows` averages over draws, ``(n_draws, n)``."""
    if method == "kl":
        return output.log_ratio()
    if method == "reconstruction":
        return output.log_likelihood(x)
    if method == "tempered":
        return output.log_likelihood(x) - 0.5 * output.log_ratio()
    return output.log_weights(x)


def combine(values, log_share, method):
    """Return the scores of rows, ``(n,)``, from the values of `evaluate`."""
    is_log = method == "evidence"
    return (_evidence.log_evidence if is_log else _evidence.average)(values, log_share)


def score_refined(module, x, noise, search_noise, mixed=None):
    """Return the ELBO after optimising q for every row, never below the encoder's.

    The search runs on other draws: a q that suits the draws of the score by chance
    gains nothing. The ELBO is that of ``mixed``, from `make_mixed`, if it is given.
    """
    amortised = score_rows(module if mixed is None else mixed, x, "elbo", noise).to(x)
    posteriors = RowPosteriors(module, x)
    raw = posteriors.maximize(search_noise.to(x))
    blocks = split_draws(module, x, noise)
    total = sum(len(block) for block in blocks)
    refined = sum(
        len(block) / total * posteriors.compute_elbo(raw, block) for block in blocks
    )
    return torch.maximum(amortised, torch.nan_to_num(refined, nan=-torch.inf))


def score_cells(module, x, noise):
    """Return E_q[log p(x_j|z)] of every cell, ``(n, n_features)`` nats."""
    return _average(module, x, noise, lambda o: o.log_likelihood_by_column(x))


def compute_kl_per_component(module, x, noise):
    """Return the KL of the marginals of every row, ``(n, n_components)`` nats.

    E_q[log q(z_k|x) - log p(z_k)] with the marginals of posterior and prior.
    """
    posterior, prior = module.encode(x), module.get_prior()
    evaluate = module.latent.log_ratio_per_component
    blocks = []
    # no row is decoded for any of the draws
    for block in split_latent_draws(module, x, noise):
        z, log_share = module.draw_latent(posterior, block.unsqueeze(1))
        blocks.append((evaluate(posterior, prior, z), log_share))
    return _average_blocks(blocks)


def _average(module, x, noise, evaluate):
    """Return the mean over draws of (n_draws, n, ...), one block of them at a time."""
    outputs = run_blocks(module, x, noise)
    return _average_blocks((evaluate(output), output.log_share) for output in outputs)


def _average_blocks(blocks):
    """Return the mean over draws of blocks: values (n_draws, n, ...), log-weights."""
    total = n_draws = 0
    for values, log_share in blocks:
        if log_share is not None:
            log_share = log_share.unsqueeze(-1)
        total = total + len(values) * _evidence.average(values, log_share)
        n_draws += len(values)
    return total / n_draws
