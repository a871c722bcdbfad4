"""EnsembleModel: several fitted models, whose mean is the density of a row.

With members p_m(x) and their bounds L_m = E_{q_m}[log p_m(x|z) p_m(z) / q_m(z|x)], the
mean density is a model whose latent is (m, z), m uniform on the M members. Its ELBO for
q(m, z|x) = r_m q_m(z|x) is

    Σ_m r_m L_m - Σ_m r_m log(M r_m) <= log (1/M) Σ_m p_m(x),

and log (1/M) Σ_m exp L_m for the best r_m, in proportion to exp L_m. By Jensen's
inequality it is at least (1/M) Σ_m L_m, the mean of the members' scores.
"""

import math

import numpy as np
import torch
from scipy.special import logsumexp, rel_entr
from typing_extensions import override

from .._utils._device import isolated
from ..likelihoods import Likelihood
from ._fitted import FittedModel


def make_model(parts, noise):
    """Return the model of modules and their columns: one, or an ensemble of several."""
    models = [FittedModel(module, columns, noise) for module, columns in parts]
    return models[0] if len(models) == 1 else EnsembleModel(models)


@isolated()
def _choose(share, size=None):
    """Return members drawn by their shares: a number of them, or one for each row."""
    share = torch.as_tensor(np.ascontiguousarray(share.T))
    if size is None:
        return torch.multinomial(share, 1).numpy().ravel()
    return torch.multinomial(share, size, replacement=True).numpy()


class EnsembleModel(FittedModel):
    """The model of one member, the first, with the others beside it.

    Scores, new rows and missing cells are those of the mean density; z, and what is
    decoded from it, are those of the first: no two members agree on the axes of z.
    """

    def __init__(self, models):
        first = self.first = models[0]
        self.models = models
        noise = first.noise, first.search_noise, first.evidence_noise
        super().__init__(first.module, first.columns, noise)

    @override
    def set_noise(self, noise):
        """Set the draws of scores, of all members."""
        super().set_noise(noise)
        for model in self.models:
            model.set_noise(noise)

    @property
    @override
    def precise(self):
        """The module in double precision; one copy of it is enough."""
        return self.first.precise

    @property
    @override
    def mixed(self):
        """That of the first member, too."""
        return self.first.mixed

    def _weigh(self, X, method="elbo", n_draws=None):
        """Return the shares p(m|x) of members of a row, ``(n_members, n)``."""
        return _to_shares([m.score(X, method, n_draws) for m in self.models])

    @override
    def score(self, X, method, n_draws=None, with_error=False):
        """Return one number for every row, as `FittedModel` does, of the mean density.

        Bounds and estimates of log p(x) are log (1/M) Σ_m exp; 'reconstruction' and
        'kl' are the two terms of the ELBO in q(m, z|x), so that it is their difference.
        Standard errors are those of members that err alike, by the delta method.
        """
        found = [m.score(X, method, n_draws, with_error) for m in self.models]
        scores, *errors = np.moveaxis(np.array(found), -1, 0) if with_error else [found]
        scores = np.asarray(scores)
        if method in ("reconstruction", "kl"):
            share = self._weigh(X, n_draws=n_draws)
            total = (share * scores).sum(axis=0)
            if method == "kl":
                # that of m
                total += rel_entr(share, 1 / len(share)).sum(axis=0)
        else:
            share = _to_shares(scores)
            total = logsumexp(scores, axis=0) - math.log(len(scores))
        if not with_error:
            return total
        return np.stack([total, (share * errors[0]).sum(axis=0)], axis=-1)

    @override
    def score_columns(self, X):
        """Return the reconstruction term of every cell, ``(n, n_features)`` nats."""
        share = self._weigh(X)[..., None]
        scores = [model.score_columns(X) for model in self.models]
        return sum(s * part for s, part in zip(share, scores, strict=True))

    @override
    def draw(self, n_samples, mean):
        """Return new rows, each of a member that is drawn."""
        chosen = _choose(np.ones(len(self.models)), n_samples)
        return self._gather(chosen, lambda model, n, _: model.draw(n, mean))

    @override
    def draw_given(self, row, n_samples, mean):
        """Return new rows that agree with one, and the effective number of draws."""
        share = self._weigh(row, "evidence")[:, 0]
        chosen = _choose(share, n_samples)
        effective = np.full(len(share), np.inf)

        def draw(model, n, number):
            rows, effective[number] = model.draw_given(row, n, mean)
            return rows

        rows = self._gather(chosen, draw)
        return rows, float(1 / (share**2 / effective).sum())

    def _gather(self, chosen, draw):
        """Return as many rows of every member as it was chosen for, in their places."""
        whole = np.empty((len(chosen), len(self.columns.kinds)))
        for number, model in enumerate(self.models):
            places = np.flatnonzero(chosen == number)
            if len(places):
                whole[places] = draw(model, len(places), number)
        return whole

    @override
    def impute(self, X, n_draws, is_drawn):
        """Return rows with missing cells filled, ``(n, n_features)`` float64.

        Members count by p(m | observed cells). A cell is the mean of theirs, of levels
        and integers the value with most weight; a row is drawn from one member.
        """
        filled = np.array(X, dtype=np.float64)
        missing = np.isnan(filled)
        some = missing.any(axis=1)
        if not some.any():
            return filled
        rows, missing = filled[some], missing[some]
        share = self._weigh(rows, "evidence")
        found = np.array([m.impute(rows, n_draws, is_drawn) for m in self.models])
        if is_drawn:
            cells = found[_choose(share), np.arange(len(rows))]
        else:
            cells = (share[..., None] * found).sum(axis=0)
            discrete = self._find_discrete()
            cells[:, discrete] = _vote(found[..., discrete], share)
        filled[some] = np.where(missing, cells, rows)
        return filled

    def _find_discrete(self):
        """Return which columns have values that are no means, (n_features,) bool."""
        found = self.columns.varies.copy()
        members = self.module.likelihood.list_members()
        found[found] = [type(m).conclude is not Likelihood.conclude for m in members]
        return found


def _to_shares(scores):
    """Return weights in proportion to exp(scores), over dim 0."""
    scores = np.asarray(scores)
    return np.exp(scores - logsumexp(scores, axis=0))


def _vote(values, share):
    """Return the values with most weight, (n_members, n, ...) to ``(n, ...)``."""
    share = share[..., None]
    votes = np.array([(share * (values == value)).sum(axis=0) for value in values])
    return np.take_along_axis(values, votes.argmax(axis=0)[None], axis=0)[0]
