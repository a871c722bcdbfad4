"""One measurement of ``speed.py``, in a process of its own.

``python benchmarks/measure.py JOB`` takes a JSON object and prints a JSON list of
results as its last line. Libraries are warm: a small call of the same kind comes first
and is not counted.
"""

import gc
import json
import math
import sys
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from contenders import CONTENDERS, FIT, GRID, LEVEL, fit_textbook
from sklearn.decomposition import FactorAnalysis
from tables import split
from workloads import get_workload, load_rows

# rows that quality is computed on
_JUDGED_ROWS = 5_000
# epochs of the textbook loop that set a level, and seconds after which a race ends
_LEVEL_EPOCHS = 100
_LEVEL_SECONDS = 60


def read_memory():
    """Return the resident memory and its peak so far, MB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return peak, peak
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


@contextmanager
def metered():
    """Yield an object that is given the seconds and the extra memory of the block."""
    gc.collect()
    with suppress(OSError):
        # forget the earlier peak
        Path("/proc/self/clear_refs").write_text("5")
    found = SimpleNamespace()
    resident, _ = read_memory()
    begin = time.perf_counter()
    yield found
    found.seconds = time.perf_counter() - begin
    found.memory = read_memory()[1] - resident


def measure_fit(name, work, seed):
    """Time a fit, and judge what it has learned."""
    fit, X = FIT[name], load_rows(work)
    fit(X[: 4 * work.batch_size], replace(work, epochs=1), seed)
    torch.manual_seed(seed)
    with metered() as found:
        elbo = fit(X, work, seed)
    if name != "pca":
        found.step = found.seconds / work.n_steps
        found.row = found.seconds / (work.n_samples * work.epochs)
    if elbo is not None:
        found.elbo = elbo(X[:_JUDGED_ROWS])
    return [vars(found)]


def measure_call(name, work, seed):
    """Time a function of all rows."""
    X = load_rows(work)
    function = CONTENDERS[work.kind][name](X[: 4 * work.batch_size], work)
    function(X[: 4 * work.batch_size])
    with metered() as found:
        function(X)
    return [vars(found)]


def measure_grid(name, work, seed):
    """Time a grid search."""
    X = load_rows(work)
    # a cold search starts its own workers
    warm = GRID[name.removesuffix(", n_jobs=2, cold")]
    warm(X[: 4 * work.batch_size], replace(work, epochs=1), seed)
    torch.manual_seed(seed)
    with metered() as found:
        GRID[name](X, work, seed)
    return [{"seconds": found.seconds}]


class Done(Exception):
    """A race is over."""


class Race:
    """Clock of a training that notes when levels are reached, and stops at the last."""

    def __init__(self, test, levels):
        self.test, self.levels, self.reached = test, levels, {}
        self.restart()

    def restart(self):
        """Start anew."""
        self.seconds, self.epochs, self.begin = 0.0, 0, time.perf_counter()

    def __call__(self, elbo):
        """Stop the clock while test rows are judged."""
        self.seconds += time.perf_counter() - self.begin
        self.epochs += 1
        self.value = elbo(self.test)
        for level, least in self.levels.items():
            # closer than a hundredth of a nat is there
            if level not in self.reached and self.value >= least - 0.01:
                self.reached[level] = {"seconds": self.seconds, "epochs": self.epochs}
        if len(self.reached) == len(self.levels) or self.seconds > _LEVEL_SECONDS:
            raise Done
        self.begin = time.perf_counter()


def find_levels(part, work, seed):
    """Return the levels of a table: FactorAnalysis, and 100 epochs of the textbook."""
    train, test = (rows.astype("float32") for rows in split(part, 0))
    torch.manual_seed(seed)
    epochs = min(_LEVEL_EPOCHS, work.epochs)
    elbo = fit_textbook(train, replace(work, epochs=epochs), seed)
    linear = FactorAnalysis(work.n_components).fit(train)
    levels = {"FactorAnalysis": float(linear.score(test))}
    return levels | {f"textbook, {epochs} epochs": elbo(test)}


def measure_level(name, work, seed, part, levels):
    """Time a training until levels of the held-out ELBO are reached."""
    train, test = (rows.astype("float32") for rows in split(part, 0))
    if name == "pythae":
        # no density of unit variance is higher than this: spare the time
        highest = -0.5 * math.log(2 * math.pi) * test.shape[1]
    else:
        highest = math.inf
    race = Race(test, {key: v for key, v in levels.items() if v < highest})
    if race.levels:
        few = train[: 4 * work.batch_size]
        with suppress(Done):
            LEVEL[name](few, replace(work, epochs=1), seed, Race(test, {"": math.inf}))
        torch.manual_seed(seed)
        race.restart()
        with suppress(Done):
            LEVEL[name](train, work, seed, race)
    return [
        {"level": key, "nats": value} | race.reached.get(key, {})
        for key, value in levels.items()
    ]


def main():
    """Do the job, and print the results."""
    job = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    work = get_workload(job["workload"], job["quick"], job["n_threads"])
    torch.set_num_threads(work.n_threads)
    name, seed = job["contender"], job["seed"]
    if name == "levels":
        found = find_levels(job["part"], work, seed)
    elif work.kind == "level":
        found = measure_level(name, work, seed, job["part"], job["levels"])
    elif work.kind == "grid":
        found = measure_grid(name, work, seed)
    elif work.kind == "fit":
        found = measure_fit(name, work, seed)
    else:
        found = measure_call(name, work, seed)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
