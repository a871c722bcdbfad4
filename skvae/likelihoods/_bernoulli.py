"""Binary columns."""

import numpy as np
import torch
from torch.distributions import Bernoulli as _BernoulliDistribution

from ._base import Likelihood, LikelihoodPass

# softplus is the identity to double precision from here on
_LINEAR_FROM = 40.0
_sigmoid = torch.ops.aten.sigmoid.out
_softplus = torch.ops.aten.softplus.out


class Bernoulli(Likelihood):
    r"""Binary columns, 0 or 1.

    .. math:: p(x|z) = \prod_j \pi_j(z)^{x_j} (1 - \pi_j(z))^{1 - x_j}

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.1.
    """

    is_scaled = False
    # rare ones are not blown up: an image's margins would drown the rest
    least_scale = 0.5
    support = "0 and 1"

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        return _BernoulliDistribution(
            logits=start + raw[..., 0, :], validate_args=False
        )

    def link(self, mean, scale, loadings, noise):
        """Return factor analysis read as a logistic model.

        A loading w of the standardised column is a correlation with a factor. If it
        were that of a normal variable which the column cuts in two, the logistic slope
        would be 1.7 w / sqrt(1 - Σ w²), the classical relation of factor analysis and
        item response theory (Lord & Novick 1968, chapter 16). Zeros and ones correlate
        less: the start is a little short of them.
        """
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        explained = np.minimum((loadings**2).sum(axis=0), 0.9)
        slope = 1.7 * loadings / np.sqrt(1 - explained)
        # E σ(b + s·z) is about σ(b / sqrt(1 + π s²/8)) (MacKay 1992, eq. 10)
        widening = np.sqrt(1 + np.pi / 8 * (slope**2).sum(axis=0))
        return slope, np.log(mean / (1 - mean)) * widening

    def conclude(self, summary):
        """Return the likelier value of every column, for its probability of 1.

        Parameters
        ----------
        summary : Tensor (..., n_features)
        """
        return (summary >= 0.5).to(summary)

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return BernoulliPass(program)

    def find_unsupported(self, x):
        """Return a mask of the values of x that are neither 0 nor 1."""
        return (x != 0) & (x != 1)


class BernoulliPass(LikelihoodPass):
    """With logits l: log p = x l + log σ(-l), and its derivative is x - σ(l)."""

    takes_missing = True

    def forward(self, x, raw, free, predicted, log_range):
        program, self.x, self.logits = self.program, x, raw
        if predicted is not None:
            program.add(raw, predicted, raw)
        self.probs, log_prob = program.empty(*x.shape), program.empty(*x.shape)
        # log σ(-l) = log(1 - σ(l)) loses digits for large l: -softplus(l) does not
        program.call(_softplus, raw, 1.0, _LINEAR_FROM, out=log_prob)
        program.multiply(x, raw, self.probs)
        program.subtract(self.probs, log_prob, log_prob)
        return self.add_up(log_prob)

    def backward(self, weight):
        program = self.program
        program.call(_sigmoid, self.logits, out=self.probs)
        grad = program.subtract(self.x, self.probs, self.probs)
        program.multiply(grad, self.weigh_cells(weight), grad)
        return grad, grad
