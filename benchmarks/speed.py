"""Seconds of training and of applying a VAE: skvae beside what else there is.

``python benchmarks/speed.py`` prints one table a workload. Every measurement has a
fresh process, contenders take turns, and medians over the repeats are shown, with
their ratio to skvae's plain model: 2 is twice as slow. us/step is seconds by steps,
us/row seconds by rows and epochs; MB is the peak of memory above what was there
before; nats is the ELBO per row of the trained model, so that equal quality can be
seen; of `skvae default` they are those of its own density. `floor` does the matrix
products alone.

The table of `level` has the seconds until held-out rows have that many nats, and in
brackets the ratio to skvae's default; `skvae, one Gaussian` and the others have one
learned noise variance per column (pythae cannot: it is fixed at 1).

Run it on an idle machine. ``pip install skvae[peers]`` adds pythae and PyOD.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from contenders import CONTENDERS
from records import write_records
from workloads import WORKLOADS, find_parts, get_workload

_PEERS = ("pythae", "pyod")
_COLUMNS = {
    "seconds": ("s", "{:.3g}"),
    "least": ("min", "{:.3g}"),
    "most": ("max", "{:.3g}"),
    "ratio": ("/ skvae", "{:.2f}"),
    "step": ("us/step", "{:.0f}"),
    "row": ("us/row", "{:.2f}"),
    "memory": ("MB", "{:.0f}"),
    "elbo": ("nats", "{:.2f}"),
}


def tell(text):
    """Print progress, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


def run_job(name, work, **job):
    """Return the results of one process, or None if it fails."""
    script = Path(__file__).with_name("measure.py")
    threads = str(work.n_threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    quiet = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, script, json.dumps({"workload": name, **job})],
        env=os.environ | dict.fromkeys(names, threads) | quiet,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tell(f"{name}: {job['contender']} failed: {done.stderr.strip()[-2000:]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def run_workload(name, work, contenders, options):
    """Return one dict a measurement, contenders taking turns."""
    parts, missing = find_parts(name, work)
    for part in missing:
        tell(f"{name}: {part or 'its data'} not found: left out")
    common = {"quick": options.quick, "n_threads": options.threads}
    rows = []
    for part in parts:
        job = {**common, "part": part, "levels": None}
        if work.kind == "level":
            job["levels"] = run_job(name, work, **job, contender="levels", seed=0)
            if job["levels"] is None:
                continue
        for seed in range(options.repeats):
            for contender in contenders:
                tell(f"repeat {seed + 1}: {name}{part and f' {part}'}, {contender}")
                found = run_job(name, work, **job, contender=contender, seed=seed)
                key = {"workload": name, "part": part, "contender": contender}
                rows += [key | {"seed": seed} | row for row in found or ()]
    return rows


def get_median(rows, field, **key):
    """Return the median of a field, None if no row has it."""
    chosen = [row for row in rows if key.items() <= row.items()]
    values = [row[field] for row in chosen if row.get(field) is not None]
    # a level that is reached less often than not has no median
    return np.median(values) if 2 * len(values) > len(chosen) else None


def print_table(header, lines):
    """Print markdown."""
    print("|", " | ".join(header), "|")
    print("|---|" + "--:|" * (len(header) - 1))
    for line in lines:
        print("|", " | ".join(line), "|")


def print_contenders(rows):
    """Print one line a contender."""
    plain = get_median(rows, "seconds", contender="skvae")
    lines = {}
    for contender in dict.fromkeys(row["contender"] for row in rows):
        seconds = [row["seconds"] for row in rows if row["contender"] == contender]
        values = {
            field: get_median(rows, field, contender=contender) for field in _COLUMNS
        }
        values |= {"least": min(seconds), "most": max(seconds)}
        if plain is not None:
            values["ratio"] = values["seconds"] / plain
        for field in ("step", "row"):
            if values[field] is not None:
                values[field] *= 1e6
        lines[contender] = values
    fields = [f for f in _COLUMNS if any(v[f] is not None for v in lines.values())]
    print_table(
        ["contender", *(_COLUMNS[field][0] for field in fields)],
        [
            [
                contender,
                *(
                    "-" if values[f] is None else _COLUMNS[f][1].format(values[f])
                    for f in fields
                ),
            ]
            for contender, values in lines.items()
        ],
    )


def print_levels(rows):
    """Print one line a table and level, one column a contender."""
    contenders = dict.fromkeys(row["contender"] for row in rows)
    lines = []
    for part, level, nats in dict.fromkeys(
        (row["part"], row["level"], row["nats"]) for row in rows
    ):
        key = {"part": part, "level": level}
        default = get_median(rows, "seconds", **key, contender="skvae default")
        cells = []
        for contender in contenders:
            seconds = get_median(rows, "seconds", **key, contender=contender)
            if seconds is None:
                cells.append("not reached")
            elif default is None:
                cells.append(f"{seconds:.3g}")
            else:
                cells.append(f"{seconds:.3g} ({seconds / default:.2f})")
        lines.append([f"{part}, {level}", f"{nats:.2f}", *cells])
    print_table(["seconds to reach", "nats", *contenders], lines)


def print_workload(name, work, rows):
    """Print what was measured."""
    what = f"{work.n_samples:,} x {work.n_features}, " if work.n_samples else ""
    print(
        f"\n{name}: {what}hidden {work.hidden}, {work.n_components} components, batch "
        f"{work.batch_size}, epochs {work.epochs}, threads {work.n_threads}\n"
    )
    if work.kind == "level":
        print_levels(rows)
    else:
        print_contenders(rows)
    sys.stdout.flush()


def main():
    """Run the workloads and print their tables."""
    everyone = dict.fromkeys(name for kind in CONTENDERS.values() for name in kind)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workloads", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS)
    )
    parser.add_argument(
        "--contenders",
        nargs="*",
        choices=list(everyone),
        default=list(everyone),
        metavar="NAME",
        help=f"of {'; '.join(everyone)}",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="instead of the workload's own")
    parser.add_argument("--csv", type=Path, help="file for every measurement")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    options = parser.parse_args()
    absent = [name for name in _PEERS if importlib.util.find_spec(name) is None]
    for name in absent:
        tell(f"{name} is not installed: left out (pip install skvae[peers])")
    rows = []
    for name in options.workloads:
        work = get_workload(name, options.quick, options.threads)
        chosen = [
            contender
            for contender in work.contenders or CONTENDERS[work.kind]
            if contender in options.contenders and contender not in absent
        ]
        found = run_workload(name, work, chosen, options) if chosen else []
        if found:
            print_workload(name, work, found)
        rows += found
        if options.csv is not None:
            write_records(options.csv, rows)


if __name__ == "__main__":
    main()
