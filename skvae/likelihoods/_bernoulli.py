"""Binary columns."""

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
    support = "0 and 1"

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        return _BernoulliDistribution(
            logits=start + raw[..., 0, :], validate_args=False
        )

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return BernoulliPass(program)

    def find_unsupported(self, x):
        """Return a mask of the values of x that are neither 0 nor 1."""
        return (x != 0) & (x != 1)


class BernoulliPass(LikelihoodPass):
    """With logits l: log p = x l + log σ(-l), and its derivative is x - σ(l)."""

    def forward(self, x, raw, free, predicted, log_range):
        program, self.x, self.logits = self.program, x, raw
        if predicted is not None:
            program.add(raw, predicted, raw)
        self.probs, log_prob = program.empty(*x.shape), program.empty(*x.shape)
        # log σ(-l) = log(1 - σ(l)) loses digits for large l: -softplus(l) does not
        program.call(_softplus, raw, 1.0, _LINEAR_FROM, out=log_prob)
        program.multiply(x, raw, self.probs)
        program.subtract(self.probs, log_prob, log_prob)
        return program.sum(log_prob, -1, program.empty(*x.shape[:-1]))

    def backward(self, weight):
        program = self.program
        program.call(_sigmoid, self.logits, out=self.probs)
        grad = program.subtract(self.x, self.probs, self.probs)
        program.multiply(grad, weight.unsqueeze(-1), grad)
        return grad, grad
