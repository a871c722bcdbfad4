"""skorch callbacks: schedules, the best weights, and the progress of training.

Pass your own in ``net_callbacks``. Those of scikit-learn, for ``set_callbacks``, are
called by ``skvae._training._sklearn_callbacks``.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.callbacks import Callback
from typing_extensions import override

from ._utils._progress import open_bar, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = [
    "Annealing",
    "BestWeights",
    "EpochLines",
    "EpochMeans",
    "FreshBinarization",
    "KLWarmup",
    "ProgressBar",
    "StopTraining",
]


class StopTraining(Exception):
    """Raised by a callback to end training without an error."""


class EpochMeans(Callback):
    """Record the means over the batches of an epoch, and whether they are the best yet.

    It does for all values what skorch's `PassthroughScoring` does for one:
    ``train_loss``, ``valid_loss`` and the terms of both, weighted by the sizes of the
    batches, and ``..._best``.

    Parameters
    ----------
    terms : tuple of str
        Terms to record beside the loss and the objective's extra terms. Higher is
        better for 'reconstruction', lower for all others.
    """

    best_: dict[str, float]

    def __init__(self, terms: Sequence[str]) -> None:
        self.terms = terms

    @override
    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.best_ = {}

    @override
    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        # a plain dict: reading from the history would take most of the time
        row = net.history[-1]
        batches = row["batches"]
        terms = "loss", *self.terms, *net.criterion_.objective.extra_terms
        for part in ("train", "valid"):
            size = f"{part}_batch_size"
            sized = [batch for batch in batches if size in batch]
            total = sum(batch[size] for batch in sized)
            for term in terms if sized else ():
                name = f"{part}_{term}"
                mean = sum(batch[name] * batch[size] for batch in sized) / total
                sign = 1 if term == "reconstruction" else -1
                is_best = sign * mean > self.best_.get(name, -float("inf"))
                if is_best:
                    self.best_[name] = sign * mean
                row |= {name: mean, f"{name}_best": is_best}


class KLWarmup(Callback):
    """Raise beta linearly from 0 over the first epochs.

    Parameters
    ----------
    beta : float
        Final weight of the KL term.
    n_epochs : int
        Epochs of the rise.

    References
    ----------
    Bowman et al. (2016), "Generating sentences from a continuous space", section 3.1.
    """

    def __init__(self, beta: float, n_epochs: int) -> None:
        self.beta = beta
        self.n_epochs = n_epochs

    @override
    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        epoch = len(net.history) - 1
        net.criterion_.beta = self.beta * min(1.0, epoch / max(self.n_epochs, 1))


class Annealing(Callback):
    """Call `Latent.anneal` before every epoch.

    Parameters
    ----------
    n_epochs : int
        Epochs of training.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    @override
    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        module = net.module_
        # 1 in the last epoch
        progress = (len(net.history) - 1) / max(self.n_epochs - 1, 1)
        module.latent.anneal(module.prior, min(progress, 1.0))


class FreshBinarization(Callback):
    """Draw binary images from their grey levels before every epoch.

    Pass it in `net_callbacks` of a fit to one such draw. Grey levels in [0, 1] are the
    probabilities of a pixel being 1, and every epoch trains on new images. Held-out
    rows do not change.

    Parameters
    ----------
    probabilities : array-like (n_samples, n_features)
        Grey levels of the rows of X, in the same order.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders",
    section 5.1.
    """

    levels_: torch.Tensor

    def __init__(self, probabilities: ArrayLike) -> None:
        self.probabilities = probabilities

    @override
    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        levels = np.array(self.probabilities, dtype=np.float32)
        shape = levels.shape
        if levels.ndim > 2:
            levels = levels.reshape(len(levels), -1)
        n_train = 1 + max(int(rows.max()) for rows in X.train)
        # a separate validation set comes after the rows of X
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
                "0 to 1 are accepted; divide grey levels by their largest possible "
                "value."
            )
        self.levels_ = torch.from_numpy(levels).to(X.device)
        X.own()

    @override
    @torch.no_grad()
    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, **kwargs: Any
    ) -> None:
        fresh = torch.bernoulli(self.levels_)
        for x, rows in dataset_train.list_folds():
            x[rows] = fresh[rows]

    @override
    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        del self.levels_


class BestWeights(Callback):
    """Stop when the held-out score no longer improves, and keep the best weights.

    Training stops after a number of epochs without improvement, or after three tenths
    of them in a row in which the score falls: held-out rows lose more, compared with
    the best epoch, than the standard error of the loss. A plateau may be left again, a
    fall hardly ever. Reconstructions of a map may stay as they are for longer, until a
    component finds a curve that it can follow: unless they fall, it has twice as many
    epochs.

    The initial weights are among the candidates: trained weights are kept only if they
    improve the mean held-out score by more than its standard error. Without held-out
    rows training runs to its end and the last weights are kept.

    Parameters
    ----------
    patience : int or None, default=10
        Epochs without improvement before training stops; None never stops.
    tol : float, default=1e-4
        Least improvement that counts, in nats.
    first_epoch : int, default=0
        Epochs before this one do not count: those of a warm-up.
    keep_start : bool, default=True
        Whether the initial weights may be kept.
    restore : bool, default=True
        Whether the best weights are restored at the end, rather than the last kept.
    """

    # of the patience, the share of epochs in a row that are worse by more than chance
    lost_share = 0.3

    best_loss_: float
    # that of the initial weights, where these are scored
    start_loss_: float | None
    best_epoch_: int | None
    best_weights_: list[torch.Tensor] | None
    # the loss of the initial weights, these, and their scores of held-out rows; None
    # after training
    initial_: Any
    best_scores_: Any
    parameters_: list[torch.Tensor] | None
    misses_: int
    scores_initial_: bool

    def __init__(
        self,
        patience: int | None = 10,
        tol: float = 1e-4,
        first_epoch: int = 0,
        keep_start: bool = True,
        restore: bool = True,
    ) -> None:
        self.patience = patience
        self.tol = tol
        self.first_epoch = first_epoch
        self.keep_start = keep_start
        self.restore = restore

    @override
    def on_train_begin(
        self, net: Any, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        self.best_loss_ = float("inf")
        self.best_epoch_ = self.best_weights_ = self.parameters_ = self.initial_ = None
        self.misses_ = self.losses_ = 0
        self.best_scores_ = self.start_loss_ = None
        self.scores_initial_ = self.keep_start and bool(X.valid)
        if self.scores_initial_:
            loss, scores = net.judge_valid_rows(X)
            self._compare(net, loss, 0)
            self.start_loss_ = loss
            self.initial_ = self.best_loss_, self.best_weights_, scores
        else:
            # in case the first epoch diverges
            self.best_weights_ = self._copy(net)

    @override
    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, **kwargs: Any
    ) -> None:
        self._initialize_members(net, dataset_train)

    def _initialize_members(self, net: Any, rows: Any) -> None:
        if net.initialize_members() and self.scores_initial_:
            loss = net.compute_valid_loss(rows)
            if self._compare(net, loss, 0):
                self.start_loss_ = loss

    def _compare(self, net: Any, loss: float, epoch: int) -> bool:
        """Keep the weights if their loss is the lowest; return whether it is."""
        if not loss < self.best_loss_ - self.tol:
            return False
        self.best_loss_, self.best_epoch_ = loss, epoch
        self.best_weights_, self.best_scores_ = self._copy(net), None
        return True

    @override
    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Compare the epoch with the best, and stop after too many that are worse."""
        epoch = len(net.history)
        loss = net.history[-1].get("valid_loss")
        if loss is not None and net.held_out_loss is not None:
            loss = net.compute_valid_loss(dataset_valid)
        if loss is None or epoch <= self.first_epoch:
            # without a held-out score the last weights are kept, in case the next epoch
            # diverges
            self.best_weights_ = self._copy(net)
            return
        is_best = self._compare(net, loss, epoch)
        net.history.record("valid_loss_best", is_best)
        self.misses_ = 0 if is_best else self.misses_ + 1
        if self.patience is None or is_best:
            self.losses_ = 0
            return
        if self._is_over(net, dataset_valid, self.patience):
            net.stop()

    def _is_over(self, net: Any, rows: Any, patience: int) -> bool:
        """Return whether an epoch without improvement is to be the last."""
        if net.held_out_loss is not None:
            return self.misses_ >= 2 * patience or (
                self.misses_ >= patience and self._has_lost(net, rows)
            )
        if self.misses_ >= patience:
            return True
        if not self.restore or not net.criterion_.is_elbo:
            return False
        self.losses_ = self.losses_ + 1 if self._has_lost(net, rows) else 0
        return self.losses_ >= math.ceil(self.lost_share * patience)

    def _has_lost(self, net: Any, rows: Any) -> bool:
        """Return whether held-out rows have lost by more than chance."""
        if self.best_weights_ is None:
            # no loss was a number
            return False
        scores = net.score_valid_rows(rows)
        if self.best_scores_ is None:
            latest = self._copy(net)
            self._load(net, self.best_weights_)
            self.best_scores_ = net.score_valid_rows(rows)
            self._load(net, latest)
        loss, error, _ = _compare_rows(self.best_scores_, scores)
        # so have those whose scores are no numbers
        return not bool(loss <= error)

    @override
    def on_train_end(
        self, net: Any, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Restore the best weights, or the initial ones."""
        if not net.history:
            # no epoch was run
            self._initialize_members(net, X)
        is_scored = self.best_epoch_ is not None
        if self.best_weights_ is not None and (
            net.diverged_ or (is_scored and self.restore)
        ):
            self._load(net, self.best_weights_)
            if self.initial_ is not None and not self._has_improved(net, X):
                self.best_loss_, weights, _ = self.initial_
                self.best_epoch_ = 0
                self._load(net, weights)
            # these averages belong to other weights
            net.raw_weights_ = net.averages_ = None
        self.best_weights_ = self.initial_ = self.parameters_ = self.best_scores_ = None

    def _has_improved(self, net: Any, X: Any) -> bool:
        """Return whether the held-out score improved by more than chance.

        Either the mean gain of rows exceeds its standard error, or the share of rows
        that gain exceeds a half by its own: one row of which the initial weights are
        certain by mistake makes the error as large as the mean. The test compares ELBOs
        of rows; with other objectives any improvement counts.
        """
        if net.held_out_loss is None and not net.criterion_.is_elbo:
            return True
        mean, error, sign = _compare_rows(net.score_valid_rows(X), self.initial_[2])
        return bool(mean > 0 and (mean > error or sign > 1))

    def _copy(self, net: Any) -> list[torch.Tensor]:
        # listing the parameters of the module takes longer than copying them
        if self.parameters_ is None:
            self.parameters_ = list(net.module_.parameters())
        return [p.detach().clone() for p in self.parameters_]

    @staticmethod
    @torch.no_grad()
    def _load(net: Any, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(net.module_.parameters(), weights, strict=True):
            parameter.copy_(value)


def _compare_rows(
    scores: tuple[torch.Tensor, torch.Tensor], others: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return by how much scores of rows are higher: mean, standard error, and sign.

    Both are pairs of scores and weights. The sign is the share of rows that are higher,
    beyond a half, by its own standard error.
    """
    gain, weight = scores[0] - others[0], scores[1]
    share = weight / weight.sum()
    # effective number of rows
    n_rows = 1 / (share**2).sum()
    mean = (share * gain).sum()
    error = ((share * (gain - mean) ** 2).sum() / n_rows).sqrt()
    return mean, error, (share * gain.sign()).sum() * n_rows**0.5


class ProgressBar(Callback):
    """Show a progress bar with the ELBO of the epoch, in nats per row.

    It is on stderr; if that is not a terminal, a line is printed every ten seconds.

    Parameters
    ----------
    name : str, default='VAETransformer.fit'
        Name of the call.
    n_epochs : int or None, default=None
        Epochs of the call; None is the `max_epochs` of the net.
    delay : float, default=0.0
        Seconds that training takes before the bar appears.
    """

    is_passing = True
    bar_: Any

    def __init__(
        self,
        name: str = "VAETransformer.fit",
        n_epochs: int | None = None,
        delay: float = 0.0,
    ) -> None:
        self.name = name
        self.n_epochs = n_epochs
        self.delay = delay

    @override
    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        n_epochs = net.max_epochs if self.n_epochs is None else self.n_epochs
        name = self.name + _name_stage(net)
        self.bar_ = open_bar(name, n_epochs, "epoch", self.delay)

    @override
    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        elbos = _compute_elbos(net.history[-1])
        names = {"train": "elbo", "valid": "valid_elbo"}
        self.bar_.set_postfix({names[k]: f"{v:.3f}" for k, v in elbos.items()})
        self.bar_.update()

    @override
    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        self.bar_.close()
        del self.bar_


class EpochLines(Callback):
    """Print a line per epoch: ELBO of training and held-out rows, in nats per row.

    A star marks the epochs whose held-out rows have the lowest loss so far. That is the
    negative ELBO, unless training has another objective; of a map it is the error of
    the reconstruction. Lines are on stdout, as those of scikit-learn and skorch are.

    Parameters
    ----------
    name : str, default='VAETransformer.fit'
        Name of the call.
    """

    is_passing = True

    def __init__(self, name: str = "VAETransformer.fit") -> None:
        self.name = name

    @override
    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        row = net.history[-1]
        if row["epoch"] == 1:
            write_line(sys.stdout, self.name + _name_stage(net))
            write_line(sys.stdout, "epoch       train    held-out  best   seconds")
        elbos = _compute_elbos(row)
        shown = [f"{elbos[k]:12.4f}" if k in elbos else " " * 12 for k in _PARTS]
        mark = "*" if row.get("valid_loss_best") else " "
        parts = f"{row['epoch']:5d}", *shown, f"{mark:>6}", f"{row['dur']:10.2f}"
        write_line(sys.stdout, "".join(parts))


_PARTS = "train", "valid"


def _compute_elbos(row: Any) -> dict[str, float]:
    """Return the mean ELBO of the rows of an epoch, nats per row, by their part."""
    return {
        part: row[f"{part}_reconstruction"] - row[f"{part}_kl"]
        for part in _PARTS
        if f"{part}_kl" in row
    }


def _name_stage(net: Any) -> str:
    """Return the stage that a net is of, as it follows a name; empty for one stage."""
    if net.module_.is_refined:
        return " (density)"
    return " (map)" if net.held_out_loss is not None else ""
