"""One of several processes of `test_distributed.py`: fits its part of each table.

``python distributed_worker.py RANK SIZE FOLDER CASES``: results are pickled in the
folder, which also has the file by which the processes find one another.
"""

import os
import pickle
import signal
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from skorch.callbacks import Callback
from torch import distributed, nn

from skvae import UnusedComponentsWarning, VAEOutlierDetector, VAETransformer
from skvae.networks import Network
from skvae.objectives import ELBO, IWAE, MMD

N_ROWS = 150


def make_array(n=N_ROWS):
    """Return rows of three factors (n, 6), half of the columns curved."""
    generator = np.random.default_rng(0)
    z, noise = generator.standard_normal((n, 3)), generator.standard_normal((n, 6))
    curved = np.sin(z @ generator.standard_normal((3, 3)))
    return np.hstack([curved, z @ generator.standard_normal((3, 3))]) + 0.2 * noise


def make_frame():
    """Return mixed columns with missing values; a level is in the last rows alone."""
    frame = pd.DataFrame(make_array(), columns=list("abcdef"))
    level = np.where(frame.a > 0, "x", np.where(frame.b > 0, "y", "z"))
    level[-10:] = "rare"
    frame["level"] = level
    frame["flag"] = frame.c > 0
    frame["count"] = np.round(np.exp(frame.d)).astype(int)
    frame.loc[::7, "a"] = np.nan
    frame.loc[::5, "level"] = None
    return frame


def make_categories():
    """Return a frame whose parts declare other categories, see `split`."""
    frame = make_frame()[["a", "b", "level"]]
    return frame.astype({"level": "category"})


def make_counts():
    """Return a sparse matrix of counts."""
    rate = np.exp(make_array() - 1)
    return sparse.csr_matrix(np.random.default_rng(1).poisson(rate))


def make_polars():
    """Return a frame of polars, None where it is not installed."""
    try:
        import polars as pl
    except ImportError:
        return None
    frame = make_frame().astype(object)
    frame = frame.where(frame.notna(), None)
    return pl.DataFrame({name: frame[name].to_list() for name in frame})


class RowNorm(nn.Module):
    """Batch normalisation of rows (..., n_units)."""

    def __init__(self, n_units):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_units)

    def forward(self, h):
        """Return normalised rows."""
        return self.norm(h.flatten(0, -2)).reshape(h.shape)


class Own(Network):
    """Networks of one's own: of layers that draw, or that see all rows of a batch."""

    def __init__(self, layer="dropout"):
        self.layer = layer

    def make_body(self, n_inputs):
        """Return a body and the number of its outputs."""
        layer = nn.Dropout(0.2) if self.layer == "dropout" else RowNorm(8)
        return nn.Sequential(nn.Linear(n_inputs, 8), layer, nn.Tanh()), 8

    def make_encoder(self, n_inputs, n_copies=None):
        """Return the encoder's body."""
        return self.make_body(n_inputs)

    def make_decoder(self, n_inputs, n_copies=None):
        """Return the decoder's body."""
        return self.make_body(n_inputs)


def make_vae(**settings):
    """Return an estimator that takes little time."""
    settings = {"random_state": 0, "max_epochs": 2, "device": "cpu"} | settings
    return VAETransformer(**settings)


def halve(X):
    """Return both halves of a table."""
    return X[: len(X) // 2], X[len(X) // 2 :]


def fit_twice(X):
    """Return an estimator that went on with a fit."""
    return make_vae(warm_start=True).fit(X).fit(X)


# by name: what is fitted, and the table
CASES = {
    "default": (make_vae().fit, make_array),
    "mixed, missing": (make_vae().fit, make_frame),
    "categories": (make_vae(density=None).fit, make_categories),
    "joint, large": (make_vae(density="joint").fit, lambda: make_array(4000)),
    "polars": (make_vae(max_epochs=1).fit, make_polars),
    "sparse": (make_vae(likelihood="poisson", max_epochs=1).fit, make_counts),
    "importance weighted": (make_vae(objective=IWAE(3)).fit, make_array),
    "compared rows": (make_vae(objective=MMD()).fit, make_array),
    "ensemble": (make_vae(n_ensemble=2, max_epochs=2).fit, make_array),
    "categorical": (make_vae(latent="categorical", n_components=4).fit, make_array),
    "detector": (VAEOutlierDetector(random_state=0, max_epochs=2).fit, make_array),
    "warm start": (fit_twice, make_array),
    "small batches": (make_vae(batch_size=2, max_epochs=1).fit, lambda: make_array(60)),
    "dropout": (make_vae(network=Own()).fit, make_array),
    "batch norm": (make_vae(network=Own("batch norm")).fit, make_array),
}


def weigh(X):
    """Return weights of rows."""
    return 1.0 + np.arange(len(X)) % 3


def split(X, rank, size):
    """Return the rows of a process; the first one has fewer than the others."""
    bounds = [0, *(len_of(X) * (2 * np.arange(1, size) - 0.8) / (2 * size - 0.8))]
    bounds = [*map(int, bounds), len_of(X)]
    part = X[bounds[rank] : bounds[rank + 1]]
    if isinstance(X, pd.DataFrame) and X.dtypes.astype(str).eq("category").any():
        part = part.assign(level=part["level"].cat.remove_unused_categories())
    return part


def len_of(X):
    """Return the number of rows of a table."""
    return X.shape[0]


def describe(vae, X):
    """Return weights, and scores of rows, of a fitted estimator."""
    weights = [p.detach().numpy().copy() for p in vae.net_.module_.parameters()]
    history = [row.get("valid_loss", row["train_loss"]) for row in vae.history_]
    return {"weights": weights, "scores": vae.score_samples(X), "history": history}


class Ends(Callback):
    """Ends one of the processes in some way, in its first epoch."""

    def __init__(self, how, rank=1):
        self.how, self.rank = how, rank

    def on_epoch_begin(self, net, **kwargs):
        """End it."""
        if distributed.get_rank() != self.rank or len(net.history) != 1:
            return
        if self.how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif self.how == "die":
            os._exit(1)
        elif self.how == "stop":
            net.stop()
        else:
            raise OSError("the disk is full")


def fail_rows(rank):
    """Fit where a process has no rows."""
    X = make_array()
    make_vae().fit(X if rank == 0 else X[:0])


def fail_columns(rank):
    """Fit where a process has other columns."""
    make_vae().fit(make_array()[:, : 6 - rank])


def fail_names(rank):
    """Fit where a process has other names."""
    frame = make_frame()
    make_vae().fit(frame if rank == 0 else frame.rename(columns={"a": "A"}))


def fail_parameters(rank):
    """Fit where a process has another parameter."""
    make_vae(max_epochs=1 + rank).fit(make_array())


def fail_objects(rank):
    """Fit where an object among the parameters of a process has another parameter."""
    objective = ELBO(n_draws=1 + rank)
    make_vae(objective=objective, hidden_layer_sizes=[8]).fit(make_array())


def fail_settings(rank):
    """Fit where a process has another optimizer."""
    optimizers = torch.optim.Adam, torch.optim.SGD
    make_vae(net_params={"optimizer": optimizers[rank]}).fit(make_array())


def fail_weights(rank):
    """Fit where a process has no weights."""
    X = make_array()
    make_vae().fit(X, sample_weight=weigh(X) if rank else None)


def fail_read(rank):
    """Fit where rows of a process have an infinite value."""
    X = make_array()
    X[0, 0] = np.inf if rank else 0
    make_vae().fit(X)


def fail_by(how):
    """Return a fit that a callback ends in one of the processes."""
    return lambda rank: make_vae(net_callbacks=[Ends(how)]).fit(make_array())


class Breaks(nn.Module):
    """Layers that fail in the middle of the third step of one of the processes."""

    def __init__(self, n_inputs):
        super().__init__()
        self.linear, self.n_calls = nn.Linear(n_inputs, 8), 0

    def forward(self, h):
        """Count the steps."""
        self.n_calls += self.training
        if self.n_calls == 3 and distributed.get_rank() == 1:
            raise OSError("the disk is full")
        return self.linear(h).tanh()


class Breaking(Own):
    """A network of such layers."""

    def make_body(self, n_inputs):
        """Return a body and the number of its outputs."""
        return Breaks(n_inputs), 8


def fail_in_step(rank):
    """Fit where a process fails while it computes a gradient."""
    make_vae(network=Breaking(), batch_size=20).fit(make_array())


FAILURES = {
    "error in a step": fail_in_step,
    "no rows": fail_rows,
    "other columns": fail_columns,
    "other names": fail_names,
    "other parameters": fail_parameters,
    "other objects": fail_objects,
    "other settings": fail_settings,
    "no weights": fail_weights,
    "infinite": fail_read,
    "interrupt": fail_by("interrupt"),
    "error": fail_by("raise"),
    "stop": fail_by("stop"),
    "die": fail_by("die"),
}


def run(rank, size, folder, cases):
    """Return what every case comes to."""
    found = {}
    for name in cases:
        if name in FAILURES:
            try:
                FAILURES[name](rank)
                found[name] = "no error"
            except BaseException as error:
                found[name] = f"{type(error).__name__}: {error}"
            continue
        fit, make = CASES[name]
        X = make()
        if X is not None:
            found[name] = describe(fit(split(X, rank, size)), X)
    if "detector" in cases:
        X = make_array()
        part = split(X, rank, size)
        weight, held_out = split(weigh(X), rank, size), split(X[::4], rank, size)
        vae = make_vae().fit(part, sample_weight=weight, X_val=held_out)
        found["weighted"] = describe(vae, X)
        vae = make_vae(random_state=None, max_epochs=1).fit(part)
        found["unseeded"] = describe(vae, X)
        vae = make_vae()
        for chunk in halve(part):
            vae.partial_fit(chunk)
        found["chunks"] = describe(vae, X)
    return found


if __name__ == "__main__":
    warnings.simplefilter("error")
    # of two epochs
    warnings.simplefilter("ignore", UnusedComponentsWarning)
    rank, size = map(int, sys.argv[1:3])
    folder, cases = Path(sys.argv[3]), sys.argv[4].split(";")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=(folder / "store").as_uri(),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=120),
    )
    found = run(rank, size, folder, cases)
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    if "die" not in cases:
        distributed.destroy_process_group()
