"""Schedules and watchers: what looks at training from outside.

skorch calls the first group, through ``net_callbacks``; scikit-learn the last, through
``set_callbacks``.
"""

import numpy as np
import torch
from skorch.callbacks import Callback

__all__ = [
    "Annealing",
    "BestWeights",
    "EpochMeans",
    "FreshBinarization",
    "KLWarmup",
    "ProgressBar",
    "StopTraining",
]


class StopTraining(Exception):
    """Raised by a callback to end training without an error."""


class EpochMeans(Callback):
    """Record what the batches of an epoch come to, and whether it was the best so far.

    What skorch's `PassthroughScoring` does for one value, for all of them at once:
    ``train_loss``, ``valid_loss`` and the terms of both, weighted by the sizes of the
    batches, and ``..._best``.

    Parameters
    ----------
    terms : tuple of str
        Recorded beside the loss and the objective's extra terms; of 'reconstruction'
        higher is better, of all others lower.
    """

    def __init__(self, terms):
        self.terms = terms

    def on_train_begin(self, net, **kwargs):
        """Forget what was best."""
        self.best_ = {}

    def on_epoch_end(self, net, **kwargs):
        """Record the means of the epoch."""
        # a dict: reading the history takes longer than all that is done here
        row = net.history[-1]
        batches = row["batches"]
        terms = "loss", *self.terms, *net.criterion_.objective.extra_terms
        for part in ("train", "valid"):
            size = f"{part}_batch_size"
            judged = [batch for batch in batches if size in batch]
            total = sum(batch[size] for batch in judged)
            for term in terms if judged else ():
                name = f"{part}_{term}"
                mean = sum(batch[name] * batch[size] for batch in judged) / total
                sign = 1 if term == "reconstruction" else -1
                is_best = sign * mean > self.best_.get(name, -float("inf"))
                if is_best:
                    self.best_[name] = sign * mean
                row |= {name: mean, f"{name}_best": is_best}


class KLWarmup(Callback):
    """Let beta rise linearly from 0 over the first epochs.

    Parameters
    ----------
    beta : float
        Where it ends.
    n_epochs : int
        How long it takes.

    References
    ----------
    Bowman et al. (2016), "Generating sentences from a continuous space", section 3.1.
    """

    def __init__(self, beta, n_epochs):
        self.beta = beta
        self.n_epochs = n_epochs

    def on_epoch_begin(self, net, **kwargs):
        """Set beta for the epoch that begins."""
        epoch = len(net.history) - 1
        net.criterion_.beta = self.beta * min(1.0, epoch / max(self.n_epochs, 1))


class Annealing(Callback):
    """Let a latent change with training, as `Latent.anneal` has it.

    Parameters
    ----------
    n_epochs : int
        How many epochs training has.
    """

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_begin(self, net, **kwargs):
        """Tell the latent how far training is."""
        module = net.module_
        # 1 in the last epoch
        progress = (len(net.history) - 1) / max(self.n_epochs - 1, 1)
        module.latent.anneal(module.prior, min(progress, 1.0))


class FreshBinarization(Callback):
    """Draw binary images anew from their grey levels before every epoch.

    For `net_callbacks` of a fit to one such draw: grey levels in [0, 1] are read as
    probabilities of a pixel being 1, and no image is ever trained on twice. Held-out
    rows stay as they are.

    Parameters
    ----------
    probabilities : array-like (n_samples, n_features)
        Of the rows of X, in their order.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders",
    section 5.1.
    """

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def on_train_begin(self, net, X=None, **kwargs):
        """Take the grey levels to where the rows are."""
        levels = np.array(self.probabilities, dtype=np.float32)
        shape = levels.shape
        if levels.ndim > 2:
            levels = levels.reshape(len(levels), -1)
        n_train = 1 + max(int(rows.max()) for rows in X.train)
        # a validation set of its own comes after the rows of X
        n_rows = 1 + max(int(rows.max()) for rows in [*X.train, *X.valid])
        n_columns = X.n_features
        if levels.shape not in [(n_train, n_columns), (n_rows, n_columns)]:
            raise ValueError(
                f"probabilities has the shape {shape}, but there are {n_train} rows of "
                f"{n_columns} columns to train on."
            )
        outside = ~((levels >= 0) & (levels <= 1))
        if outside.any():
            raise ValueError(
                f"probabilities has the value {levels[outside][0]:g}, but numbers from "
                "0 to 1 are accepted; divide grey levels by the largest there can be."
            )
        self.levels_ = torch.from_numpy(levels).to(X.device)
        X.own()

    @torch.no_grad()
    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Replace the rows that every copy trains on."""
        fresh = torch.bernoulli(self.levels_)
        for x, rows in dataset_train.list_copies():
            x[rows] = fresh[rows]

    def on_train_end(self, net, **kwargs):
        """Let go of the grey levels."""
        del self.levels_


class BestWeights(Callback):
    """Stop when held-out rows gain no more, and keep the weights that were best.

    The weights before the first step count too: what is added to the start stays only
    if held-out rows gain by it, by more than the standard error of their mean gain.
    Without held-out rows nothing is stopped and the last weights stay.

    Parameters
    ----------
    patience : int or None, default=10
        Epochs without a gain before training stops; None never stops.
    tol : float, default=1e-4
        Gain in nats that counts.
    first_epoch : int, default=0
        Epoch before which nothing counts, the end of a warm-up.
    keep_start : bool, default=True
        Whether the weights before the first step may win.
    restore : bool, default=True
        Whether the best weights come back at the end, rather than the last.
    """

    def __init__(
        self, patience=10, tol=1e-4, first_epoch=0, keep_start=True, restore=True
    ):
        self.patience = patience
        self.tol = tol
        self.first_epoch = first_epoch
        self.keep_start = keep_start
        self.restore = restore

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Judge the start."""
        self.best_loss_ = float("inf")
        self.best_epoch_ = None
        self.best_weights_ = self.parameters_ = None
        self.start_ = None
        self.misses_ = 0
        self.judges_start_ = self.keep_start and bool(X.valid)
        if self.judges_start_:
            self.judge(net, net.compute_valid_loss(X), 0)
            self.start_ = self.best_loss_, self.best_weights_, net.score_valid_rows(X)
        else:
            # in case the first epoch diverges
            self.best_weights_ = self._copy(net)

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Judge what the members made of the linear start, before the first step."""
        self._start_members(net, dataset_train)

    def _start_members(self, net, rows):
        if net.start_members() and self.judges_start_:
            self.judge(net, net.compute_valid_loss(rows), 0)

    def judge(self, net, loss, epoch):
        """Note the weights if the loss is the least so far; return whether it was."""
        if not loss < self.best_loss_ - self.tol:
            return False
        self.best_loss_, self.best_epoch_ = loss, epoch
        self.best_weights_ = self._copy(net)
        self.misses_ = 0
        return True

    def on_epoch_end(self, net, **kwargs):
        """Judge the epoch, and stop after too many without a gain."""
        epoch = len(net.history)
        loss = net.history[-1].get("valid_loss")
        if loss is None or epoch <= self.first_epoch:
            # nobody judges: what an epoch ended with is kept in case the next diverges
            self.best_weights_ = self._copy(net)
            return
        is_best = self.judge(net, loss, epoch)
        net.history.record("valid_loss_best", is_best)
        self.misses_ = 0 if is_best else self.misses_ + 1
        if self.patience is not None and self.misses_ >= self.patience:
            net.stop()

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Put the best weights back, or those of the start."""
        if not net.history:
            # no epoch was asked for
            self._start_members(net, X)
        is_judged = self.best_epoch_ is not None
        if self.best_weights_ is not None and (
            net.diverged_ or (is_judged and self.restore)
        ):
            self._load(net, self.best_weights_)
            if self.start_ is not None and not self._has_gained(net, X):
                self.best_loss_, weights, _ = self.start_
                self.best_epoch_ = 0
                self._load(net, weights)
            # averages of another run of weights
            net.raw_weights_ = net.averages_ = None
        self.best_weights_ = self.start_ = self.parameters_ = None

    def _has_gained(self, net, X):
        """Return whether the gain on held-out rows is more than chance.

        Their scores say so of the ELBO alone; other objectives just have to gain.
        """
        if not net.criterion_.is_elbo:
            return True
        before, weight = self.start_[2]
        gain = net.score_valid_rows(X)[0] - before
        share = weight / weight.sum()
        mean = (share * gain).sum()
        variance = (share * (gain - mean) ** 2).sum()
        # the number of rows that would tell as much with equal weights
        n_rows = 1 / (share**2).sum()
        return bool(mean > (variance / n_rows).sqrt())

    def _copy(self, net):
        # a walk through the module takes longer than the copies
        if self.parameters_ is None:
            self.parameters_ = list(net.module_.parameters())
        return [p.detach().clone() for p in self.parameters_]

    @staticmethod
    @torch.no_grad()
    def _load(net, weights):
        for parameter, value in zip(net.module_.parameters(), weights, strict=True):
            parameter.copy_(value)


class ProgressBar(Callback):
    """Show a bar with the ELBO of the epoch, in nats per row."""

    is_passing = True

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        from tqdm.auto import tqdm

        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", desc="VAETransformer")

    def on_epoch_end(self, net, **kwargs):
        """Move on by one epoch."""
        row = net.history[-1]
        shown = {}
        for part, label in (("train", "elbo"), ("valid", "valid_elbo")):
            if f"{part}_kl" in row:
                elbo = row[f"{part}_reconstruction"] - row[f"{part}_kl"]
                shown[label] = f"{elbo:.3f}"
        self.bar_.set_postfix(shown)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()
        del self.bar_
