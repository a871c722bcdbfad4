"""Poisson counts."""

import torch

from .._distributions import LogPoisson, log_poisson
from ._base import LikelihoodPass
from ._counts import CountLikelihood, bend


class Poisson(CountLikelihood):
    r"""Counts whose variance is their mean.

    .. math:: p(x|z) = \prod_j \frac{\lambda_j(z)^{x_j} e^{-\lambda_j(z)}}{x_j!}

    The decoder gives the logarithm of the rate. From twice the largest count of the
    training rows on, the rate rises linearly with it, not exponentially.

    See Also
    --------
    NegativeBinomial : Where counts vary more than that.

    References
    ----------
    McCullagh & Nelder (1989), "Generalized linear models", chapter 6.

    Collins, Dasgupta & Schapire (2002), "A generalization of principal components
    analysis to the exponential family": the linear model.
    """

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        return LogPoisson(bend(start + raw[..., 0, :], self.get_ceiling(raw)))

    def link(self, mean, scale, loadings, noise):
        """Return the linear model of log(1 + x) as a model of the log rate.

        The mean of the rate over z is that of the column.
        """
        return self.link_log_rate(scale, loadings)

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return PoissonPass(program, self)


def _write_log_prob(x, log_rate):
    """Put log p in the place of the log rate."""
    log_rate.copy_(log_poisson(x, log_rate))


class PoissonPass(LikelihoodPass):
    """With log rate l: log p = x l - exp(l) - log x!, and its derivative x - exp(l)."""

    takes_missing = True

    def __init__(self, program, likelihood):
        super().__init__(program)
        self.likelihood = likelihood

    def represent(self, x):
        return self._call(torch.log1p, x, like=x)

    def _call(self, function, *args, like):
        out = self.program.empty(*like.shape)
        self.program.call(function, *args, out=out)
        return out

    def forward(self, x, raw, free, predicted, log_range):
        program, self.x = self.program, x
        if predicted is not None:
            program.add(raw, predicted, raw)
        ceiling = self.likelihood.get_ceiling(raw)
        log_rate = self._call(torch.minimum, raw, ceiling, like=x)
        # what a log rate above the ceiling is bent by, 1 below
        self.bend = program.subtract(raw, log_rate, program.empty(*x.shape))
        program.add(self.bend, 1.0, self.bend)
        self.rate = program.exp(log_rate, program.empty(*x.shape))
        program.multiply(self.rate, self.bend, self.rate)
        program.add(log_rate, self._call(torch.log, self.bend, like=x), log_rate)
        program.call(_write_log_prob, x, log_rate)
        return self.add_up(log_rate)

    def backward(self, weight):
        program = self.program
        grad = program.subtract(self.x, self.rate, self.rate)
        program.divide(grad, self.bend, grad)
        program.multiply(grad, self.weigh_cells(weight), grad)
        return grad, grad
