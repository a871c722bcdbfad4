"""Seconds of training and of applying a VAE: skvae beside what else there is.

``python benchmarks/speed.py`` prints one table a workload. Every measurement has a
fresh process, contenders take turns, and medians over the repeats are shown, with
their ratio to skvae's plain model: 2 is twice as slow. us/step is seconds by steps,
us/row seconds by rows and epochs; MB is the peak of memory above what was there
before; nats is the ELBO per row of the trained model, so that equal quality can be
seen; of `skvae default` they are those of its own density. `floor` does the matrix
products alone.

`members` trains one model for each kind of member, on the data of `small` (negative
binomial and ordinal: on counts and levels made of them); its ratio is to the plain
model. ``--against PATH`` compares with another checkout, see `_run`.

The table of `level` has the seconds until held-out rows have that many nats, and in
brackets the ratio to skvae's default; `skvae, one Gaussian` and the others have one
learned noise variance per column (pythae cannot: it is fixed at 1).

Run it on an idle machine. ``pip install skvae[peers]`` adds pythae and PyOD.
"""

from dataclasses import replace
from importlib.util import find_spec

import _run
from _run import Axis, fill, get_median, get_values, group, tell
from contenders import CONTENDERS
from measure import measure_work
from workloads import WORKLOADS, find_parts

_PEERS = ("pythae", "pyod")
_COLUMNS = {
    "seconds": ("s", ".3g"),
    "least": ("min", ".3g"),
    "most": ("max", ".3g"),
    "ratio": ("/ skvae", ".2f"),
    "step": ("us/step", ".0f"),
    "row": ("us/row", ".2f"),
    "memory": ("MB", ".0f"),
    "elbo": ("nats", ".2f"),
}


def find_work(options, workload, **point):
    """Return a workload, tiny or on another number of threads if asked."""
    work = WORKLOADS[workload].shrink() if options.quick else WORKLOADS[workload]
    return replace(work, n_threads=options.threads or work.n_threads)


def count_threads(options, **point):
    """Return the number of threads of a measurement."""
    return find_work(options, **point).n_threads


def measure(options, workload, part, contender, seed):
    """Return the records of one contender."""
    work = find_work(options, workload)
    return measure_work(work, contender, seed, part, options.levels.get(part))


def list_points(options):
    """Yield the measurements, contenders taking turns."""
    options.levels = {}
    for name in options.workloads:
        work = find_work(options, name)
        parts, missing = find_parts(name, work)
        for part in missing:
            tell(f"{name}: {part or 'its data'} not found: left out")
        members = work.contenders or CONTENDERS[work.kind]
        for part in parts:
            point = {"workload": name, "part": part}
            if work.kind == "level":
                job = point | {"contender": "levels", "seed": 0}
                found = _run.run_process(job, options, count_threads)
                if not found:
                    continue
                options.levels[part] = found[0]["levels"]
            for seed in options.repeats:
                for contender in members:
                    if contender in options.contenders:
                        yield point | {"contender": contender, "seed": seed}


def list_contenders():
    """Return the contenders that are installed."""
    return [n for n in NAMES if n not in _PEERS or find_spec(n)]


def print_contenders(records):
    """Print one line a contender."""
    plain = get_median([r for r in records if r["contender"] == "skvae"], "seconds")
    shown = {field for field in _COLUMNS if get_values(records, field)}
    shown |= {"least", "most"} | ({"ratio"} if plain is not None else set())

    def summarize(part):
        seconds = get_values(part, "seconds")
        values = {field: get_median(part, field) for field in _COLUMNS}
        values |= {"least": min(seconds), "most": max(seconds)}
        if plain is not None:
            values["ratio"] = values["seconds"] / plain
        for field in ("step", "row"):
            if values[field] is not None:
                values[field] *= 1e6
        # a column without values is left out
        return {
            title: fill(values[field], spec)
            for field, (title, spec) in _COLUMNS.items()
            if field in shown
        }

    _run.print_groups(records, ["contender"], summarize)


def print_levels(records):
    """Print one line a table and level, one column a contender."""

    def summarize(part):
        found = group(part, ["contender"]).items()
        medians = {name: get_median(rows, "seconds") for (name,), rows in found}
        cells = {"nats": f"{part[0]['nats']:.2f}"}
        default = medians.get("skvae default")
        for name, seconds in medians.items():
            cells[name] = "not reached" if seconds is None else f"{seconds:.3g}"
            if default and seconds:
                cells[name] += f" ({seconds / default:.2f})"
        return cells

    for record in records:
        record["seconds to reach"] = f"{record['part']}, {record['level']}"
    _run.print_groups(records, ["seconds to reach"], summarize)


def report(records, options):
    """Print one table a workload."""
    for (name,), part in group(records, ["workload"]).items():
        work = find_work(options, name)
        what = f"{work.n_samples:,} x {work.n_features}, " if work.n_samples else ""
        print(
            f"\n{name}: {what}hidden {work.hidden}, {work.n_components} components, "
            f"batch {work.batch_size}, epochs {work.epochs}, threads {work.n_threads}\n"
        )
        if work.kind == "level":
            print_levels(part)
        else:
            print_contenders(part)


NAMES = dict.fromkeys(name for kind in CONTENDERS.values() for name in kind)
AXES = [
    Axis("workload", "--workloads", WORKLOADS, WORKLOADS, keeps_all=True),
    Axis("seed", "--repeats", 5),
    Axis("contender", "--contenders", NAMES, NAMES, list_contenders, keeps_all=True),
]
SETTINGS = {
    "options": {"--threads": {"type": int, "help": "instead of the workload's own"}},
    "n_threads": count_threads,
    "points": list_points,
    "isolated": True,
}


if __name__ == "__main__":
    _run.main(__doc__, AXES, measure, report, **SETTINGS)
