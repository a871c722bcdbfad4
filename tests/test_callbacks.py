"""When training stops, and which weights are kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import sem
from sklearn.datasets import load_breast_cancer
from skorch.history import History

from skvae import VAETransformer
from skvae.callbacks import BestWeights

N_ROWS = 50


class Net:
    """A net whose held-out rows have the scores it is told of, epoch by epoch."""

    held_out_loss = None
    diverged_ = is_stopped = False

    def __init__(self, scores, is_elbo=True):
        self.scores = [torch.as_tensor(s, dtype=torch.float64) for s in scores]
        self.history = History()
        self.module_ = torch.nn.Linear(1, 1, bias=False)
        self.criterion_ = SimpleNamespace(is_elbo=is_elbo)
        self.n_passes = 0
        self._set_epoch(0)

    def _set_epoch(self, epoch):
        torch.nn.init.constant_(self.module_.weight, epoch)

    def initialize_members(self):
        return False

    def score_valid_rows(self, rows):
        """Return the scores of the epoch that the weights are of."""
        self.n_passes += 1
        scores = self.scores[int(self.module_.weight.item())]
        return scores, torch.ones(N_ROWS, dtype=torch.float64)

    def judge_valid_rows(self, rows):
        scores, weight = self.score_valid_rows(rows)
        return -float(scores.mean()), (scores, weight)

    def compute_valid_loss(self, rows):
        return -float(self.score_valid_rows(rows)[0].mean())

    def stop(self):
        self.is_stopped = True

    def train(self, callback):
        """Go through the epochs; return after which of them training stops."""
        rows = SimpleNamespace(valid=[0])
        callback.on_train_begin(self, rows)
        for epoch in range(1, len(self.scores)):
            callback.on_epoch_begin(self, rows)
            self._set_epoch(epoch)
            self.history.new_epoch()
            self.history.record("valid_loss", -float(self.scores[epoch].mean()))
            callback.on_epoch_end(self, dataset_valid=rows)
            if self.is_stopped:
                break
        callback.on_train_end(self, rows)
        return epoch


def make_scores(losses, error):
    """Return scores of rows that lose so much from the second epoch on.

    The losses of rows differ, and have the standard error ``error``.
    """
    generator = np.random.default_rng(0)
    base = generator.standard_normal(N_ROWS)
    noise = generator.standard_normal(N_ROWS)
    noise -= noise.mean()
    noise *= error / sem(noise)
    return [base - 5, base, *(base - loss - noise for loss in losses)]


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([1.1] * 12, 4),  # a fall
        ([0.9] * 12, 11),  # a plateau: that of patience
        ([1.1, 1.1, 0.9, *[1.1] * 9], 7),  # not in a row
        ([1.1, 1.1, -0.1, *[1.1] * 9], 7),  # the third of them is the best
    ],
)
def test_training_stops_where_the_score_falls(losses, stops):
    net = Net(make_scores(losses, 1.0))
    # of a standard error whose divisor is n - 1, whereas ours is n
    assert net.train(BestWeights(patience=10)) == stops
    assert net.module_.weight.item() == 1 + 3 * (min(losses) < 0)


@pytest.mark.parametrize("is_elbo", [True, False])
def test_scores_are_compared_only_where_they_are_what_is_trained(is_elbo):
    net = Net(make_scores([2.0] * 12, 1.0), is_elbo)
    assert net.train(BestWeights(patience=10)) == (4 if is_elbo else 11)


@pytest.mark.parametrize(
    ("losses", "stops", "best"),
    [
        ([1.1] * 30, 11, 1),  # a fall
        ([0.9] * 30, 21, 1),  # a plateau: twice the patience
        ([*[0.9] * 14, -0.5, *[1.1] * 30], 26, 16),  # one that is left again
        ([*[0.9] * 13, *[1.1] * 30], 15, 1),  # one that a fall ends
        ([np.nan] * 30, 11, 1),
    ],
)
def test_maps_have_more_patience_unless_they_fall(losses, stops, best):
    net = Net(make_scores(losses, 1.0))
    net.held_out_loss = True
    assert net.train(BestWeights(patience=10)) == stops
    assert net.module_.weight.item() == best


def test_more_patience_waits_longer_for_a_fall():
    net = Net(make_scores([1.1] * 30, 1.0))
    assert net.train(BestWeights(patience=50)) == 16


def test_no_patience_never_stops():
    net = Net(make_scores([2.0] * 8, 1.0))
    assert net.train(BestWeights(patience=None)) == 9
    assert net.n_passes == 2


def test_losses_that_are_no_numbers_stop_by_patience():
    net = Net(9 * [np.full(N_ROWS, np.nan)])
    assert net.train(BestWeights(patience=3)) == 3


def test_weights_are_the_same_after_a_fall(monkeypatch):
    X = load_breast_cancer().data[:200]
    found = []
    for share in (0.3, 100):
        monkeypatch.setattr("skvae.callbacks.BestWeights.lost_share", share)
        vae = VAETransformer(2, density="joint", random_state=0).fit(X)
        found.append((len(vae.history_), vae.score(X)))
    assert found[0][0] < found[1][0]
    assert found[0][1] == found[1][1]
