"""Seconds of an epoch in one process, and in several that fit together.

``python benchmarks/data_parallel.py`` prints the table of ``docs/results/scale.md``.
Processes have one thread each, exchange by gloo, and have equal shares of the rows; one
process with as many threads as there are processes stands beside them. An epoch is the
median of all but the first of each stage, training and held-out rows together.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _run import Axis, fill, get_median, group, main, print_table

N_NEW = 2000
# rows, columns, hidden layers, rows of a batch
TABLES = {
    "40,000 x 100, hidden (256, 256), batch 2,048": (40_000, 100, (256, 256), 2048),
    "20,000 x 100, hidden (256, 256), batch 512": (20_000, 100, (256, 256), 512),
    "20,000 x 20, hidden (128, 128), batch 128": (20_000, 20, (128, 128), 128),
}
CONTENDERS = ("1 process, 1 thread", "1 process, 2 threads", "2 processes")


def draw(n, d, seed):
    """Return rows (n, d) of five latent variables, half of the columns curved."""
    fixed, generator = np.random.default_rng(0), np.random.default_rng(seed)
    inner, outer = fixed.standard_normal((2, 5, d // 2))
    z = generator.standard_normal((n, 5))
    X = np.hstack([np.sin(z @ inner), z @ outer])
    return X + 0.3 * generator.standard_normal(X.shape)


def fit(table, n_epochs, rank=0, size=1):
    """Return what a fit to the rows of one process takes, and the score of new rows."""
    from skvae import VAETransformer
    from skvae.networks import MLP

    n, d, hidden, batch_size = TABLES[table]
    vae = VAETransformer(
        5,
        network=MLP(hidden),
        batch_size=batch_size,
        max_epochs=n_epochs,
        n_iter_no_change=n_epochs,
        density=None,
        random_state=0,
        device="cpu",
    )
    begin = time.perf_counter()
    vae.fit(np.array_split(draw(n, d, 1), size)[rank])
    seconds = time.perf_counter() - begin
    epochs = [row["dur"] for row in vae.history_][1:]
    n_steps = -(-int(0.9 * n) // batch_size)
    return {
        "epoch": float(np.median(epochs)),
        "step": 1e3 * float(np.median(epochs)) / n_steps,
        "seconds": seconds,
        "nats": vae.score(draw(N_NEW, d, 2)),
    }


def fit_rank(rank, size, store, table, n_epochs):
    """Fit in one of several processes."""
    from torch import distributed

    distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=size
    )
    record = fit(table, n_epochs, rank, size)
    distributed.destroy_process_group()
    return record


def start_ranks(size, table, n_epochs):
    """Fit in several processes at once; return what the first one has measured."""
    with tempfile.TemporaryDirectory() as folder:
        store = (Path(folder) / "store").as_uri()
        processes = []
        for rank in range(size):
            job = json.dumps([rank, size, store, table, n_epochs])
            command = [sys.executable, __file__, "--rank", job]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        lines = [process.communicate()[0] for process in processes]
    return json.loads(lines[0].splitlines()[-1])


def measure(options, table, contender, seed):
    """Return the record of one contender."""
    n_epochs = 2 if options.quick else 6
    if contender == "2 processes":
        return start_ranks(2, table, n_epochs)
    return fit(table, n_epochs)


def count_threads(options, contender, **point):
    """Return the threads of a process."""
    return 2 if contender == "1 process, 2 threads" else 1


def summarize(records, options):
    """Print the table, with ratios to one process of one thread."""
    lines = []
    for (table,), part in group(records, ["table"]).items():
        cells = group(part, ["contender"])
        first = get_median(cells[CONTENDERS[0],], "epoch")
        for (contender,), found in cells.items():
            epoch = get_median(found, "epoch")
            lines.append(
                {
                    "table": table,
                    "contender": contender,
                    "ms/step": fill(get_median(found, "step"), ".3g"),
                    "s/epoch": fill(epoch, ".3g"),
                    "times as fast": fill(first / epoch, ".2f"),
                    "fit, s": fill(get_median(found, "seconds"), ".3g"),
                    "nats, new rows": fill(get_median(found, "nats"), ".3f"),
                }
            )
    print_table(lines, 2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        print(json.dumps(fit_rank(*json.loads(sys.argv[2]))))
        sys.exit()
    main(
        __doc__,
        [
            Axis("seed", "--seeds", 3),
            Axis("table", "--tables", TABLES, TABLES),
            Axis("contender", "--contenders", CONTENDERS, CONTENDERS, None, True),
        ],
        measure,
        summarize,
        isolated=True,
        n_threads=count_threads,
    )
