"""Models of a table and what they say about it, without anything of Streamlit."""

import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
from skorch.callbacks import Callback

from skvae import VAEOutlierDetector, VAETransformer

# filters of warnings, and settings of matplotlib, are those of the whole process
LOCK = threading.RLock()


@contextmanager
def collect_warnings():
    """Collect the texts of warnings, for the page."""
    texts = []
    with LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
        # others are for those who write programs
        found = (str(w.message) for w in caught if issubclass(w.category, UserWarning))
        texts.extend(dict.fromkeys(found))


class Progress(Callback):
    """Report after every epoch which share of the training is done, at least."""

    def __init__(self, report, n_stages):
        self.report = report
        self.n_stages = n_stages
        self.stage = 0

    def on_train_begin(self, net, **kwargs):
        """Count the stages of training."""
        self.stage, self.epoch = self.stage + 1, 0

    def on_epoch_end(self, net, **kwargs):
        """Report an epoch."""
        self.epoch += 1
        share = (self.stage - 1 + self.epoch / net.max_epochs) / self.n_stages
        self.report(min(share, 1.0), f"epoch {self.epoch} of {net.max_epochs}")


def fit(name, X, max_epochs, report):
    """Return a fitted model, the `detector` or the `vae`, and warnings as texts."""
    make, n_stages = {
        "detector": (VAEOutlierDetector, 1),
        "vae": (VAETransformer, 2),
    }[name]
    progress = Progress(report, n_stages)
    model = make(
        max_epochs=max_epochs, random_state=0, net_callbacks=[("progress", progress)]
    )
    with collect_warnings() as texts:
        model.fit(X)
    # what is kept does not report to a page that is gone
    progress.report = None
    return model, texts


def rank(detector, X):
    """Return log-densities and p-values of rows, the least likely first."""
    scores = detector.score_samples(X)
    found = pd.DataFrame(
        {"p-value": detector.p_values(X), "score (nats)": np.round(scores, 2)},
        index=X.index,
    )
    return found.sort_values("score (nats)")


def find_reasons(detector, X, n_reasons=2):
    """Return, for every row, the cells to blame, with what the others predict."""
    parts = detector.explain(X)
    lowest = parts.to_numpy().argsort(axis=1)[:, :n_reasons]
    columns = [f"reason {k + 1}" for k in range(lowest.shape[1])]
    found = pd.DataFrame("", index=X.index, columns=columns)
    for k in range(len(columns)):
        is_hidden = np.arange(X.shape[1]) == lowest[:, [k]]
        expected = detector.impute(X.mask(is_hidden), n_draws=50)
        for row, column in enumerate(lowest[:, k]):
            if parts.iloc[row, column] < 0:
                value, other = (show(t.iloc[row, column]) for t in (X, expected))
                text = f"{X.columns[column]} = {value}"
                same = value == other
                found.iloc[row, k] = text if same else f"{text}, expected {other}"
    return found, parts


def fill(vae, X):
    """Return a table whose missing cells are filled."""
    rows = X.isna().any(axis=1)
    filled = X.copy()
    if rows.any():
        # more draws hardly change a mean, and take their time
        n_draws = 50 if rows.sum() < 2000 else 20
        filled[rows] = vae.impute(X[rows], n_draws=n_draws)
    return filled


def draw(vae, n_rows, given, seed):
    """Return new rows under conditions, and warnings as texts."""
    with collect_warnings() as texts:
        rows = vae.sample(n_rows, given=given or None, random_state=seed)
    return rows.set_axis(pd.RangeIndex(1, len(rows) + 1)), texts


def show(value):
    """Return a cell as a short text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        is_short = 1e3 <= abs(value) < 1e12
        return f"{value:,.0f}" if is_short else f"{value:.4g}"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    text = str(value)
    return text if len(text) < 40 else f"{text[:39]}…"
