"""What all benchmarks share: command line, grid, measurements, records and tables.

A benchmark is a function that measures one point of a grid, the axes of that grid, and
the table that is printed; `main` does the rest. A record is a dict: where in the grid
it belongs, and what was measured there. Progress goes to stderr, Markdown to stdout;
``--csv`` writes every record to a file, ``--read`` prints the tables of such files, and
``--resume`` goes on with a run that was interrupted.

A benchmark of time is *isolated*: every measurement has a process of its own, which
imports skvae from the checkout that this file is in. With ``--against PATH`` every
measurement of skvae is repeated with the checkout at PATH, the two taking turns, and
the ratios of their medians are printed.
"""

import argparse
import csv
import importlib.util
import json
import os
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext, suppress
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]


class Axis(NamedTuple):
    """One dimension of the grid, and its option on the command line.

    ``name`` is the field of the records, and ``flag`` the option, without dashes a
    positional one. ``values`` are run by default; an int is a number of repeats. The
    command line may name others of ``choices``. Those that ``here()`` does not return
    are left out: their data or packages are not there. With ``--quick`` the first
    value is run, or all if ``keeps_all``.
    """

    name: str
    flag: str
    values: Any
    choices: Any = None
    here: Any = None
    keeps_all: bool = False

    def add_to(self, parser):
        """Add the option."""
        if isinstance(self.values, int):
            parser.add_argument(self.flag, type=int, metavar="N")
            return
        kind = type(next(iter(self.values), ""))
        known = self.choices and f"of {'; '.join(self.choices)}"
        parser.add_argument(self.flag, nargs="*", type=kind, metavar="X", help=known)

    def choose(self, parser, options):
        """Turn the option into the list of values to run, and return it."""
        field = self.flag.lstrip("-")
        given, values = getattr(options, field), self.values
        if isinstance(values, int):
            given, values = given and range(given), range(values)
        values = list(values)[: 1 if options.quick and not self.keeps_all else None]
        chosen = list(given or values)
        for value in chosen:
            if self.choices is not None and value not in self.choices:
                parser.error(f"{self.flag}: {value!r} is not of {list(self.choices)}")
        here = chosen if self.here is None else self.here()
        for value in chosen:
            if value not in here:
                tell(f"{value} not found: left out")
        setattr(options, field, [value for value in chosen if value in here])
        return getattr(options, field)


# running ----------------------------------------------------------------------------


def main(doc, axes, measure, table, *, isolated=False, n_threads=1, **settings):
    """Run a benchmark from its command line.

    Parameters
    ----------
    doc : str
        Its description.
    axes : list of Axis
        The first one varies slowest.
    measure : callable
        ``measure(options, **point)`` returns a record, a list of records, or None
        where there is nothing to measure. ``seconds`` are added if not measured.
    table : tuple or callable
        Arguments of `print_groups` after the records; or ``table(records, options)``
        prints them.
    isolated : bool, default=False
        Whether every measurement has a process of its own.
    n_threads : int, None or callable, default=1
        Threads of a measurement, as many as there are if None; a callable is given
        options and point.
    **settings
        ``options``, arguments of ``add_argument`` by flag; and ``points``, a function
        of the options that yields what to measure where that is no product of axes;
        and ``compared``, titles of fields that ``--against`` compares beside seconds.
    """
    if isolated and sys.argv[1:2] == ["--job"]:
        _answer(measure, n_threads, json.loads(sys.argv[2]))
        return
    parser = _make_parser(doc, axes, settings.get("options", {}), isolated)
    options = parser.parse_args()
    if options.read:
        records = [record for path in options.read for record in read_records(path)]
        failed = []
    else:
        chosen = [axis.choose(parser, options) for axis in axes]
        names = [axis.name for axis in axes]
        points = (dict(zip(names, values, strict=True)) for values in product(*chosen))
        points = settings["points"](options) if "points" in settings else points
        run = _run_isolated if isolated else _run_here
        earlier = _read_earlier(parser, options)
        points = (p for p in points if not _is_measured(p, earlier))
        records, failed = list(earlier), []
        for found in run(measure, _stop_in_time(points, options), options, n_threads):
            failed += [found] if found is None else []
            records += found or []
            if options.csv and records:
                write_records(options.csv, records)
    if not records:
        sys.exit("nothing was measured")
    own = [record for record in records if record.get("checkout") != "other"]
    table(own, options) if callable(table) else print_groups(own, *table)
    if len(own) < len(records):
        print_against(records, settings.get("compared", {}))
    if failed:
        sys.exit(f"{len(failed)} measurements failed")


def tell(text):
    """Print progress, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


def _make_parser(doc, axes, more, isolated):
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for axis in axes:
        axis.add_to(parser)
    if isolated:
        more |= {"--against": {"type": Path, "help": "another checkout of skvae"}}
    else:
        more |= {"--jobs": {"type": int, "default": 1, "help": "processes"}}
    more |= {
        "--csv": {"type": Path, "help": "file for every record"},
        "--resume": {
            "action": "store_true",
            "help": "go on with the file of --csv: measure what it lacks",
        },
        "--read": {"nargs": "*", "type": Path, "help": "print the tables of files"},
        "--minutes": {"type": float, "help": "after which nothing more is started"},
        "--quick": {"action": "store_true", "help": "little, to try it out"},
    }
    for flag, arguments in more.items():
        parser.add_argument(flag, **arguments)
    return parser


def _read_earlier(parser, options):
    """Return the records of the run that is resumed."""
    if options.resume and not options.csv:
        parser.error("--resume needs --csv")
    return read_records(options.csv) if options.resume and options.csv.exists() else []


def _is_measured(point, records):
    """Return whether a point is among records of a file."""
    return any(all(str(r.get(k)) == str(v) for k, v in point.items()) for r in records)


def _stop_in_time(points, options):
    begin = time.perf_counter()
    for point in points:
        if options.minutes and time.perf_counter() - begin > 60 * options.minutes:
            tell("time is over")
            return
        yield point


@cache
def _load_script(path):
    """Return the module of a script, which caches what its functions do."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _call_script(path, name, *args, **kwargs):
    return getattr(_load_script(path), name)(*args, **kwargs)


def _run_here(measure, points, options, n_threads):
    if options.jobs != 1:
        # functions of a script that cache their results cannot be sent to a process
        script = sys.modules[measure.__module__].__file__
        measure = partial(_call_script, script, measure.__name__)
    parallel = Parallel(n_jobs=options.jobs, return_as="generator")
    return parallel(delayed(_observe)(measure, p, options, n_threads) for p in points)


def _observe(measure, point, options, n_threads, label=""):
    """Return the records of a point, None if it fails."""
    n_threads = n_threads(options, **point) if callable(n_threads) else n_threads
    warnings.simplefilter("ignore")
    if n_threads:
        import torch

        torch.set_num_threads(n_threads)
    where = [v if isinstance(v, str) else f"{k} {v}" for k, v in point.items()]
    where = ", ".join(filter(None, [*where, label]))
    with threadpool_limits(n_threads) if n_threads else nullcontext():
        try:
            found, seconds = timed(measure, options, **point)
        except Exception as error:
            tell(f"{where} failed: {error!r}"[:300])
            return None
    found = [found] if isinstance(found, dict) else found or []
    for record in found:
        tell(f"{where}: {', '.join(f'{k} {_show(v)}' for k, v in record.items())}")
    return [point | {"seconds": seconds} | record for record in found]


def _show(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def measured(function, *args, **kwargs):
    """Return what a call returns, and a record of its seconds and those of the CPU."""
    begin, cpu = time.perf_counter(), time.process_time()
    result = function(*args, **kwargs)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return result, {"seconds": seconds, "cpu": cpu}


def timed(function, *args, **kwargs):
    """Return what a call returns, and its seconds."""
    result, record = measured(function, *args, **kwargs)
    return result, record["seconds"]


# a process for each measurement -----------------------------------------------------


def _run_isolated(measure, points, options, n_threads):
    for point in points:
        checkouts = {"": ROOT}
        if options.against and point.get("contender", "skvae").startswith("skvae"):
            checkouts = {"this": ROOT, "other": options.against.resolve()}
        # neither is always the first
        for name in list(checkouts)[:: -1 if point.get("seed", 0) % 2 else 1]:
            found = run_process(point, options, n_threads, name, checkouts[name])
            yield found and [r | ({"checkout": name} if name else {}) for r in found]


def run_process(point, options, n_threads=1, label="", root=ROOT):
    """Return the records that this script finds for a point, None if it fails."""
    n_threads = n_threads(options, **point) if callable(n_threads) else n_threads
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    # what else is on the path may hold other packages
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    changes = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": path}
    changes |= dict.fromkeys(names, str(n_threads)) if n_threads else {}
    job = {"point": point, "options": vars(options), "label": label, "root": root}
    done = subprocess.run(
        [sys.executable, sys.argv[0], "--job", json.dumps(job, default=str)],
        env=os.environ | changes,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) if not done.returncode else None


def _answer(measure, n_threads, job):
    """Measure in the process that `run_process` has started."""
    found = importlib.util.find_spec("skvae").origin
    if Path(found).parents[1] != Path(job["root"]):
        sys.exit(f"skvae is imported from {found}, not from {job['root']}")
    options = argparse.Namespace(**job["options"])
    records = _observe(measure, job["point"], options, n_threads, job["label"])
    if records is None:
        sys.exit(1)
    print(json.dumps(records, default=float))


def print_against(records, compared=()):
    """Print medians of two checkouts and their ratios: 2 is half the time here.

    ``compared`` are the titles of further fields, by name.
    """
    records = [record for record in records if record.get("checkout")]
    fields = ("workload", "work", "part", "contender", "level", "table", "model")
    fields = [field for field in fields if any(r.get(field) for r in records)]

    def compare(part):
        cells, parts = {}, group(part, ["checkout"])
        titles = {"seconds": "s", "cpu": "CPU s"} | dict(compared)
        for field, title in titles.items():
            pair = [get_median(parts.get((c,), []), field) for c in ("this", "other")]
            if None not in pair:
                cells[f"{title}, this"], cells[f"{title}, other"] = map(_show, pair)
                cells[f"{title}, ratio"] = f"{pair[1] / pair[0]:.2f}"
        return cells

    print("\nThis checkout and the other; ratio: other / this\n")
    print_groups(records, fields, compare)


# records ----------------------------------------------------------------------------


def write_records(path, records):
    """Write records into a file; one without a field leaves it empty."""
    fields = list(dict.fromkeys(key for record in records for key in record))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(records)


def read_records(path):
    """Return the records of a file, numbers as numbers."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: _read_value(text) for key, text in row.items() if text}
            for row in csv.DictReader(file)
        ]


def _read_value(text):
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def group(records, fields):
    """Return the records of every combination of fields, by its values."""
    groups = {}
    for record in records:
        groups.setdefault(tuple(record.get(f, "") for f in fields), []).append(record)
    return groups


def get_values(records, field):
    """Return the values of a field, without the records that lack it."""
    return [record[field] for record in records if record.get(field) is not None]


def get_mean(records, field):
    """Return the mean of a field, None if no record has it; of texts the first."""
    values = get_values(records, field)
    if not values or isinstance(values[0], str):
        return next(iter(values), None)
    return np.mean(values)


def get_median(records, field):
    """Return the median of a field, None if less than half of the records have it."""
    values = get_values(records, field)
    return np.median(values) if values and 2 * len(values) > len(records) else None


# tables -----------------------------------------------------------------------------


def fill(value, spec):
    """Return the text of a cell, '-' where there is no value."""
    return "-" if value is None else format(value, spec)


def print_groups(records, fields, cells):
    """Print a table with one line for every combination of fields.

    ``cells`` has formats of further fields, whose means are shown, by name; or
    ``cells(records)`` returns texts by the titles of their columns.
    """
    lines = []
    for key, part in group(records, fields).items():
        if callable(cells):
            found = cells(part)
        else:
            found = {k: fill(get_mean(part, k), spec) for k, spec in cells.items()}
        lines.append(dict(zip(fields, key, strict=True)) | found)
    print_table(lines, len(fields))


def print_table(lines, n_labels=1):
    """Print dicts as a Markdown table; all but texts of the labels are on the right."""
    titles = list(dict.fromkeys(title for line in lines for title in line))
    labels = titles[:n_labels]
    texts = [t for t in labels if any(isinstance(line.get(t), str) for line in lines)]
    print("|", " | ".join(title.replace("|", r"\|") for title in titles), "|")
    print("|" + "|".join("---" if t in texts else "--:" for t in titles) + "|")
    for line in lines:
        print("|", " | ".join(str(line.get(title, "-")) for title in titles), "|")
    sys.stdout.flush()
