"""Latency of files of ONNX: one row in onnxruntime, and a row in bulk.

``python benchmarks/onnx_latency.py`` prints the table of ``docs/results/onnx.md``. The
models are those of ``benchmarks/inference.py``, fitted to 4,000 rows of 20 columns.
Microseconds of the wall, on one thread: the least of many calls, in the session and
around the method of the estimator. `error` is the largest difference of the two, in
z's units or nats; `export` the seconds of `to_onnx`, `kB` the size of the file.
"""

import time

import numpy as np
import onnxruntime
from _run import Axis, get_mean, main
from inference import MODELS, make_rows

import skvae
from skvae.export import to_onnx

METHODS = ["transform", "score_samples"]
COLUMNS = ["onnx 1", "estimator 1", "onnx 1 missing", "onnx bulk", "estimator bulk"]
COLUMNS += ["error", "export", "kB"]


def make_session(file):
    """Return a session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(
        file.SerializeToString(), options, providers=providers
    )


def time_call(function, n=1, n_repeats=2000):
    """Return the microseconds that a call takes at least, by n."""
    seconds = []
    for _ in range(n_repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return 1e6 * min(seconds) / n


def measure(options, model, method, seed):
    """Return times, error and size of one method of one model."""
    name, settings = MODELS[model]
    # the number of draws depends on what is learned
    vae = getattr(skvae, name)(random_state=seed, **settings)
    vae.fit(make_rows(4000, seed + 1))
    begin = time.perf_counter()
    file = to_onnx(vae, method=method)
    seconds = time.perf_counter() - begin
    session, compute = make_session(file), getattr(vae, method)
    rows = make_rows(2000, 1000 + seed)
    incomplete = rows.copy()
    incomplete[:, 3] = np.nan

    def run(table):
        return lambda: session.run(None, {"X": table})[0]

    return {
        "onnx 1": time_call(run(rows[:1])),
        "estimator 1": time_call(lambda: compute(rows[:1]), n_repeats=200),
        "onnx 1 missing": time_call(run(incomplete[:1]), n_repeats=500),
        "onnx bulk": time_call(run(rows), len(rows), 5),
        "estimator bulk": time_call(lambda: compute(rows), len(rows), 5),
        "error": float(np.abs(run(rows)() - compute(rows)).max()),
        "export": seconds,
        "kB": file.ByteSize() / 1000,
    }


def summarize(part):
    """Return the cells of a row."""
    return {name: f"{get_mean(part, name):.3g}" for name in COLUMNS}


if __name__ == "__main__":
    main(
        __doc__,
        [
            Axis("model", "--models", MODELS, MODELS),
            Axis("method", "--methods", METHODS, METHODS),
            Axis("seed", "--seeds", 1),
        ],
        measure,
        (["model", "method"], summarize),
        isolated=True,
    )
