"""Missing cells given observed ones: draws of z, weighed by p(observed cells | z).

Every function takes a module from `make_precise`, and rows in its units.
"""

import copy
import math

import torch
from torch.distributions import Independent

from .._distributions._normals import CorrelatedNormal
from .._utils._device import scoring_dtype
from ._chunks import get_chunk_size, run_blocks, split_draws
from ._evidence import VAEOutput

# draws from q(z|x) for every row, and draws from the prior for each of them: more of
# either barely change the error of filled cells
_N_DRAWS, _POOL_DRAWS = 48, 4
# where columns depend on one another given z, missing cells are drawn, too, which takes
# more draws; and those of the prior cost as much as others
_N_JOINT_DRAWS, _JOINT_POOL_DRAWS = 200, 1
# draws of z, at least, from the prior and from q(z|x), when new rows are drawn
_LEAST_PROPOSALS = 5000


def choose_n_draws(module):
    """Return the number of draws from q(z|x) that filled cells take by default."""
    return _N_JOINT_DRAWS if module.likelihood.is_joint else _N_DRAWS


class Pool:
    """Draws of z from the prior, with p(x|z): the same for all rows.

    They are decoded once, and reach values of z that the ``n_draws`` draws from q(z|x)
    of every row miss. ``is_drawn``: whether missing cells are drawn anew for every row,
    where p(x|z) draws them.
    """

    def __init__(self, module, n_draws, is_drawn=False):
        share = _JOINT_POOL_DRAWS if module.likelihood.is_joint else _POOL_DRAWS
        z = module.get_prior().sample((share * n_draws,))
        z = z.reshape(len(z), 1, -1)
        self.z = z.to(scoring_dtype(z.device))  # (n_draws, 1, n_components)
        self.is_drawn = is_drawn
        self._decode(module)

    def _decode(self, module):
        noise = None if self.is_drawn else self.z
        self.likelihood = module.decode_shared(self.z, noise)

    def decoded_by(self, module):
        """Return the same draws with p(x|z) of another module."""
        other = copy.copy(self)
        other._decode(module)
        return other


def _make_proposal(module, x):
    """Return the distribution that z of rows with missing cells is drawn from.

    The best q of independent components is much too narrow where cells are missing. It
    keeps its standard deviations, and takes the correlation of the linear start given
    the observed cells.
    """
    posterior, root = module.encode(x), module.linear_start.compute_root(x)
    if root is None or not isinstance(posterior, Independent):
        return posterior
    return CorrelatedNormal(posterior.mean, posterior.stddev.unsqueeze(-1) * root)


def _weigh(output, log_likelihood, n_pool, n_draws):
    """Return log-weights p(x|z) p(z) / r(z) of draws, for the observed cells of x.

    r is the mixture of q(z|x) and p(z) that all draws together come from (Veach &
    Guibas 1995, the balance heuristic), so that no weight is more than a few times
    p(x|z).
    """
    share = n_pool / (n_pool + n_draws)
    log_prior = output.prior.log_prob(output.z)
    log_mixture = torch.logaddexp(
        output.posterior.log_prob(output.z) + math.log1p(-share),
        log_prior + math.log(share),
    )
    return log_likelihood + log_prior - log_mixture


def _run_weighed(module, x, noise, pool):
    """Yield outputs, cells and log-weights: of draws from q(z|x), and of the pool.

    For the cells see `VAEOutput.complete`.
    """
    mean = not pool.is_drawn
    if module.latent.enumerate(module.n_components) is not None:
        for output in run_blocks(module, x, noise):
            if pool.is_drawn and hasattr(output.likelihood, "noise"):
                output.likelihood.noise = None
            cells, log_likelihood = output.complete(x, mean)
            log_weights = log_likelihood - output.log_ratio() + output.log_share
            yield output, cells, log_weights
        return
    posterior, prior = _make_proposal(module, x), module.get_prior()

    def weigh(likelihood, z):
        output = VAEOutput(posterior, prior, likelihood, z)
        cells, log_likelihood = output.complete(x, mean)
        return output, cells, _weigh(output, log_likelihood, len(pool.z), len(noise))

    for block in split_draws(module, x, noise):
        block = block.unsqueeze(1)
        if isinstance(posterior, CorrelatedNormal):
            z = posterior.transform(block)
        else:
            z = module.latent.draw(posterior, block)
        shared = None if pool.is_drawn else block
        yield weigh(module.decode_shared(z, shared), z)
    yield weigh(pool.likelihood, pool.z)


def expect_cells(module, x, noise, pool):
    """Return the expected values of all cells of rows, given those observed.

    Draws of z are weighed by p(observed cells | z), and the weights divided by their
    sum (Mattei & Frellsen 2019, eq. 12).
    """
    means, log_total = None, x.new_full((len(x),), -torch.inf)
    for output, cells, log_weights in _run_weighed(module, x, noise, pool):
        if cells is None:
            summaries = module.likelihood.summarise_groups(output.likelihood)
        else:
            summaries = module.likelihood.summarise_values(cells)
        share = torch.softmax(log_weights, dim=0)
        means = means or [0.0] * len(summaries)
        # a running mean: blocks count as much as the weights of their draws
        log_found = torch.logsumexp(log_weights, dim=0)
        log_total = torch.logaddexp(log_total, log_found)
        pull = torch.exp(log_found - log_total).unsqueeze(-1)
        for i, summary in enumerate(summaries):
            if summary.shape[1] == 1:
                # the same for all rows
                found = share.mT @ summary.squeeze(1)
            else:
                found = torch.einsum("kn,knm->nm", share, summary)
            means[i] = means[i] + pull * (found - means[i])
    return module.likelihood.conclude_groups(means)


def draw_cells(module, x, noise, pool):
    """Return one draw of all cells of rows, given those observed.

    z is one of the draws of `expect_cells`, chosen by its weight: sampling importance
    resampling (Rubin 1987).
    """
    found = [
        (output.z.expand(-1, len(x), -1) if cells is None else cells, log_weights)
        for output, cells, log_weights in _run_weighed(module, x, noise, pool)
    ]
    values, log_weights = (torch.cat(parts) for parts in zip(*found, strict=True))
    chosen = torch.distributions.Categorical(logits=log_weights.mT).sample()
    values = values[chosen, torch.arange(len(x), device=x.device)]
    return values if module.likelihood.is_joint else module.decode(values).sample()


def draw_latent(module, x, n_samples):
    """Return draws of z given the observed cells of one row, cells, and n_effective.

    The cells, those of every draw, are None where columns are independent given z.
    Half of the proposals are from the prior, half from q(z|x): where the encoder errs
    the prior still reaches what q leaves out, and no weight is more than twice p(x|z)
    (a defensive mixture, Hesterberg 1995). Their effective number is that of Kong, Liu
    & Wong (1994).
    """
    size, n_proposals = get_chunk_size(module), max(_LEAST_PROPOSALS, 2 * n_samples)
    found = [_propose(module, x, size) for _ in range(-(-n_proposals // size))]
    z, log_weights = (torch.cat(parts) for parts in list(zip(*found, strict=True))[:2])
    weights = torch.softmax(log_weights, dim=0)
    chosen = torch.multinomial(weights, n_samples, replacement=True)
    cells = None
    if module.likelihood.is_joint:
        cells = torch.cat([part for _, _, part in found])[chosen]
    return z[chosen], cells, float(1 / weights.square().sum())


def _propose(module, x, n_draws):
    """Return 2 * n_draws draws of z for a row, log-weights, and cells if joint."""
    prior, posterior = module.get_prior(), module.encode(x)
    z = torch.cat(
        [
            prior.sample((n_draws,)).reshape(n_draws, 1, -1).to(x),
            module.latent.draw(posterior, None, n_draws),
        ]
    )
    output = VAEOutput(posterior, prior, module.decode(z), z)
    cells, log_likelihood = output.complete(x)
    log_weights = _weigh(output, log_likelihood, n_draws, n_draws)
    cells = None if cells is None else cells.squeeze(1)
    return z.squeeze(1), log_weights.squeeze(1), cells
