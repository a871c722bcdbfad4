"""Memory that `fit` takes for tables that lie on a disk.

``python benchmarks/large_table.py`` writes tables of random factors into a temporary
folder, maps them into memory, fits the default estimator for one pass, and prints the
most memory that was taken beside the table (``RssAnon`` of Linux: pages of the file
itself can be let go of, and do not count) and the seconds of fit.
"""

import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _run import Axis, main

from skvae import VAETransformer

_CHUNK_ROWS = 100_000


def read_memory():
    """Return the bytes of this process that are backed by no file."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


@contextmanager
def watched(peaks, name, interval=0.01):
    """Note the most memory taken inside, beyond that taken before, and the seconds."""
    before, most, done = read_memory(), [0], threading.Event()

    def watch():
        while not done.wait(interval):
            most[0] = max(most[0], read_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - begin
        done.set()
        watcher.join()
        peaks[name] = max(most[0] - before, 0), seconds


def write(path, n_samples, n_features, seed=0):
    """Write rows of five factors and noise, float32, and return them mapped."""
    rng = np.random.default_rng(seed)
    loadings = rng.standard_normal((5, n_features)).astype(np.float32)
    table = np.memmap(path, "float32", mode="w+", shape=(n_samples, n_features))
    for begin in range(0, n_samples, _CHUNK_ROWS):
        n = min(_CHUNK_ROWS, n_samples - begin)
        rows = rng.standard_normal((n, 5), dtype=np.float32) @ loadings
        table[begin : begin + n] = rows + rng.standard_normal(
            (n, n_features), dtype=np.float32
        )
    table.flush()
    return np.memmap(path, "float32", mode="r", shape=(n_samples, n_features))


def measure(options, size):
    """Return memory and seconds of one size."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        X = write(Path(folder) / "table", size, options.columns)
        vae, found = VAETransformer(max_epochs=1, random_state=0), {}
        with watched(found, "fit"):
            vae.fit(X)
        with watched(found, "score"):
            vae.score_samples(X[:200_000])
        with watched(found, "transform"):
            vae.transform(X)
        record = {"rows x columns": f"{size:,} x {options.columns}"}
        record["file, MB"] = X.nbytes / 1e6
        del X
    record |= {f"{name}, MB": peak / 1e6 for name, (peak, _) in found.items()}
    return record | {"fit, s": found["fit"][1]}


AXES = [Axis("size", "sizes", (1_000_000, 4_000_000, 16_000_000))]
OPTIONS = {
    "--columns": {"type": int, "default": 50},
    "--folder": {"help": "where the tables are written"},
}
TITLES = "file, MB", "fit, MB", "score, MB", "transform, MB", "fit, s"
TABLE = ["rows x columns"], dict.fromkeys(TITLES, ".0f")


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE, options=OPTIONS, n_threads=None)
