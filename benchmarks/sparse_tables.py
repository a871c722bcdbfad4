"""CPU seconds and memory of fits of sparse tables, beside TruncatedSVD.

``python benchmarks/sparse_tables.py`` prints one table. Rows are counts of words of
texts, each of two in ten topics, or whether there are any. Every measurement has a
fresh process of one thread; libraries are warm. CPU s are those of the process for a
fit of a few epochs; MB is the peak of memory above what was there before. Sizes are
those of the matrix, and of the table if it were dense, in single precision. ms a row
are those of `transform` and `score_samples`, and nats the mean score of held-out rows.
"""

import time

import numpy as np
from _run import Axis, fill, get_mean, main
from measure import metered
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

import skvae

# held-out rows, those that are scored, and topics
_N_TEST, _N_SCORED, _N_TOPICS = 200, 100, 10
_FEW = 40


def make_texts(n_samples, n_features, n_words):
    """Return counts of words, about `n_words` a row, as a matrix of scipy."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(n_features, 0.05), size=_N_TOPICS)
    reached = np.cumsum(shares, axis=1)
    topics = generator.integers(_N_TOPICS, size=(n_samples, 2))
    row = np.repeat(np.arange(n_samples), generator.poisson(n_words, n_samples))
    topic = topics[row, generator.integers(2, size=len(row))]
    level, column = generator.random(len(row)), np.empty(len(row), dtype=np.int32)
    for number in range(_N_TOPICS):
        own = topic == number
        column[own] = np.searchsorted(reached[number], level[own])
    column = np.minimum(column, n_features - 1)
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_array((ones, (row, column)), shape=(n_samples, n_features))


# rows, columns, words of a row, and the likelihood
TABLES = {
    "poisson, 20,000 x 20,000": (20_000, 20_000, 20, "poisson"),
    "bernoulli, 20,000 x 20,000": (20_000, 20_000, 20, "bernoulli"),
    "auto, 100,000 x 5,000": (100_000, 5_000, 50, "auto"),
}


def measure(options, table, model, seed):
    """Return CPU seconds, memory and scores of one model."""
    n_samples, n_features, n_words, likelihood = TABLES[table]
    if options.quick:
        n_samples, n_features = 300, 200
    rows = make_texts(n_samples + _N_TEST, n_features, n_words)
    if likelihood == "bernoulli":
        rows.data[:] = 1
    X, test = rows[:n_samples].copy(), rows[n_samples:]
    del rows
    settings = {"random_state": seed, "device": "cpu", "likelihood": likelihood}
    n_epochs = 1 if options.quick else options.epochs

    def make(n_epochs):
        if model == "TruncatedSVD":
            return TruncatedSVD(options.components, random_state=seed)
        return skvae.VAETransformer(options.components, max_epochs=n_epochs, **settings)

    make(1).fit(X[:_FEW, :_FEW])
    fitted, record = metered(make(n_epochs).fit, X)
    stored = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    record |= {"stored": stored / 2**20, "dense": 4 * n_samples * n_features / 2**20}
    record["share"] = X.nnz / (n_samples * n_features)
    begin = time.process_time()
    fitted.transform(test)
    record["transform"] = 1e3 * (time.process_time() - begin) / test.shape[0]
    if model == "skvae":
        begin = time.process_time()
        record["nats"] = fitted.score_samples(test[:_N_SCORED]).mean()
        record["score"] = 1e3 * (time.process_time() - begin) / _N_SCORED
    return record


def summarize(part):
    """Return the cells of a table and a model."""
    formats = {
        "cpu": ("CPU s", ".0f"),
        "memory": ("MB", ".0f"),
        "stored": ("sparse MB", ".1f"),
        "dense": ("dense MB", ".0f"),
        "transform": ("transform, ms a row", ".2f"),
        "score": ("score, ms a row", ".1f"),
        "nats": ("nats", ".1f"),
    }
    return {title: fill(get_mean(part, n), f) for n, (title, f) in formats.items()}


AXES = [
    Axis("table", "--tables", list(TABLES)),
    Axis("model", "--models", ["skvae", "TruncatedSVD"], keeps_all=True),
    Axis("seed", "--repeats", 1),
]
OPTIONS = {
    "--components": {"type": int, "default": 10},
    "--epochs": {"type": int, "default": 2},
}
TABLE = ["table", "model"], summarize


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE, options=OPTIONS, isolated=True)
