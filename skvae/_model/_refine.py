"""The best q of every row: the ELBO maximised over the posterior of each, by Adam."""

import torch

# steps at most, and steps without improvement before the rate is quartered
_STEPS = 2000
_PATIENCE = 6
_RATE = 0.1


class RowPosteriors:
    """Posteriors of rows x (n, n_features), as corrections to those of the encoder.

    The module is from `make_precise`.
    """

    def __init__(self, module, x):
        self.module, self.x = module, x
        self.loc, self.scale = module.latent.get_loc_scale(module.encode(x))

    def make(self, raw, rows=slice(None)):
        """Return q(z|x) of some rows from raw posterior outputs."""
        return self.module.make_posterior(raw, self.loc[rows], self.scale[rows])

    def compute_elbo(self, raw, block, rows=slice(None)):
        """Return the ELBO of some rows for draws that they share, ``(n,)``."""
        output = self.module.complete(self.make(raw, rows), block.unsqueeze(1))
        return output.elbo(self.x[rows])

    def maximize(self, block, tol=1e-4, least_rate=1e-3):
        """Return the raw posterior outputs with the highest ELBO, from zero on.

        Every row has its own rate and stops by itself: rows do not affect each other.
        An improvement counts from ``tol`` nats on; a row has converged when its rate,
        in standard deviations of the encoder, is below ``least_rate``.
        """
        module, x, n = self.module, self.x, len(self.x)
        raw = x.new_zeros(n, *module.latent.raw_shape(module.n_components))
        best_raw, best = raw.clone(), raw.new_full((n,), -torch.inf)
        first, second = torch.zeros_like(raw), torch.zeros_like(raw)
        rate = raw.new_full((n,), _RATE)
        misses = torch.zeros(n, dtype=torch.long, device=raw.device)
        rows = torch.arange(n, device=raw.device)
        for step in range(1, _STEPS + 1):
            with torch.enable_grad():
                trial = raw[rows].requires_grad_()
                value = self.compute_elbo(trial, block, rows)
                (gradient,) = torch.autograd.grad(value.sum(), trial)
            value, gradient = value.detach(), torch.nan_to_num(gradient)
            has_gained = value > best[rows] + tol
            is_best = value > best[rows]
            best[rows] = torch.where(is_best, value, best[rows])
            best_raw[rows[is_best]] = trial.detach()[is_best]
            misses[rows] = torch.where(has_gained, 0, misses[rows] + 1)
            stuck = rows[misses[rows] >= _PATIENCE]
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
