"""One measurement of ``speed.py``.

Libraries are warm: a small call of the same kind comes first and is not counted.
"""

import gc
import math
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from _run import measured
from contenders import CONTENDERS, DATA, GRID, LEVEL, fit_textbook
from sklearn.decomposition import FactorAnalysis
from tables import split
from workloads import load_rows

# rows that quality is computed on
_SCORED_ROWS = 5_000
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


def metered(function, *args):
    """Return what a call returns, and a record of its seconds and extra memory, MB."""
    gc.collect()
    with suppress(OSError):
        # forget the earlier peak
        Path("/proc/self/clear_refs").write_text("5")
    resident, _ = read_memory()
    result, record = measured(function, *args)
    return result, record | {"memory": read_memory()[1] - resident}


def measure_fit(name, work, seed):
    """Time a fit, and compute the ELBO of the trained model."""
    fit, X = CONTENDERS[work.kind][name], load_rows(work)
    X = DATA[name](X) if name in DATA else X
    fit(X[: 4 * work.batch_size], replace(work, epochs=1), seed)
    torch.manual_seed(seed)
    elbo, record = metered(fit, X, work, seed)
    if name != "pca":
        record["step"] = record["seconds"] / work.n_steps
        record["row"] = record["seconds"] / (work.n_samples * work.epochs)
    if elbo is not None:
        record["elbo"] = elbo(X[:_SCORED_ROWS])
    return record


def measure_call(name, work, seed):
    """Time a function of all rows."""
    X = load_rows(work)
    function = CONTENDERS[work.kind][name](X[: 4 * work.batch_size], work)
    function(X[: 4 * work.batch_size])
    return metered(function, X)[1]


def measure_grid(name, work, seed):
    """Time a grid search."""
    X = load_rows(work)
    # a cold search starts its own workers
    warm = GRID[name.removesuffix(", n_jobs=2, cold")]
    warm(X[: 4 * work.batch_size], replace(work, epochs=1), seed)
    torch.manual_seed(seed)
    _, record = measured(GRID[name], X, work, seed)
    # seconds of other processes are not known
    return {"seconds": record["seconds"]} if "n_jobs" in name else record


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
        """Stop the clock while test rows are scored."""
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
        {"level": key, "nats": value, "seconds": None} | race.reached.get(key, {})
        for key, value in levels.items()
    ]


def measure_work(work, name, seed, part, levels):
    """Return the records of one contender."""
    if name == "levels":
        return {"levels": find_levels(part, work, seed)}
    if work.kind == "level":
        return measure_level(name, work, seed, part, levels)
    if work.kind == "grid":
        return measure_grid(name, work, seed)
    if work.kind in ("fit", "members"):
        return measure_fit(name, work, seed)
    return measure_call(name, work, seed)
