"""What all objectives share."""

from sklearn.base import BaseEstimator

from .._checks import check_count


def average_rows(values, weight):
    """Return the weighted mean over rows of (..., n)."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum()


class Objective(BaseEstimator):
    """Base of all objectives.

    Calling one with ``(output, x, weight, beta)`` returns ``(loss, terms)``: a scalar
    to minimise, and a dict of named means in nats per row.
    """

    n_draws = 1
    # whether steps may do without autograd: `value` and `differentiate` are defined
    is_closed = False
    # whether the loss is β KL - reconstruction, and nothing has to be defined for it
    is_linear = False
    # whether the KL is taken as `VAEOutput.kl` has it, and not as the log ratio
    uses_kl = True

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_draws", 1)

    def value(self, log_likelihood, kl, share, beta):
        """Return the loss, a tensor ().

        Parameters
        ----------
        log_likelihood : Tensor (..., n_draws, n)
        kl : Tensor (..., n_draws, n)
        share : Tensor (..., n)
            Weights of the rows, summing to one.
        beta : float
        """
        raise NotImplementedError

    def differentiate(self, log_likelihood, kl, share, beta):
        """Return the loss' derivatives by log_likelihood and kl, in their shapes."""
        raise NotImplementedError
