"""Run scikit-learn's checks and what users do on other versions of the dependencies.

``python tools/test_versions.py`` makes an environment for each of the `SETS` and two
for the lowest versions of ``pyproject.toml``, without and with optional packages, runs
`TESTS` or `EXTRA_TESTS` in them (warnings are errors), and prints the table of
``docs/works_with.md``. ``python tools/test_versions.py lowest 1.6`` does so for some.
``--smoke`` runs a part of the tests on the lowest versions, in about a minute.

torch, pytest and what they need are those of the environment that runs the script; with
``--torch 2.4.1`` or ``--python python3.10`` all is installed by pip. Environments are
kept in ``.venv-versions`` for the next run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venv-versions"
TESTS = (
    "tests/test_common.py",
    "tests/test_works_with.py",
    "tests/test_utils_compat.py",
)
# those of the optional packages
EXTRA_TESTS = (
    "tests/test_export.py",
    "tests/test_files.py",
    "tests/test_columns_times.py",
    "tests/test_plots.py",
    "tests/test_progress.py",
)
EXTRAS = "onnx onnxruntime skl2onnx skops polars pyarrow matplotlib rich cloudpickle"
# which tests of TESTS: the checks of scikit-learn on the defaults, and for the smoke
# test on the smallest model
SELECTED = "default or outliers or beyond or not test_common"
SMOKE = "linear or not test_common"
# the first release of every minor version, with others of its time
SETS = {
    "1.5": "scikit-learn==1.5.0 numpy==2.0.2 scipy==1.14.1 pandas==2.2.3 skorch==1.2.0",
    "1.6": "scikit-learn==1.6.0 numpy==2.1.3 scipy==1.14.1 pandas==2.2.3 skorch==1.3.0",
    "1.7": "scikit-learn==1.7.0 numpy==2.2.6 scipy==1.15.3 pandas==2.3.3 skorch==1.3.1",
    "1.8": "scikit-learn==1.8.0 numpy==2.3.5 scipy==1.16.3 pandas==2.3.3 skorch==1.3.1",
    "1.9": "scikit-learn==1.9.0 numpy==2.4.0 scipy==1.16.3 pandas==3.0.0 skorch==1.4.0",
}
SHOWN = ("scikit-learn", "numpy", "scipy", "pandas", "skorch", "torch")


def read_lowest(with_extras=False):
    """Return the lowest versions of dependencies, as pip has them pinned."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    def read(name):
        listed = re.search(rf"^{name} = \[\n(.*?)^\]", text, re.M | re.S).group(1)
        return dict(re.findall(r'"([\w-]+)>=([\d.]+)"', listed))

    found = read("dependencies")
    if with_extras:
        tested = read("test")
        found |= {name: tested[name] for name in EXTRAS.split()}
    return [f"{name}=={version}" for name, version in found.items()]


def find_installed(name):
    """Return the distribution of a name in this environment, or None."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def link(names, folder, skipped):
    """Link installed distributions, and those they need, into another environment."""
    waiting, seen = list(names), set(skipped)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        found = None if name in seen else find_installed(name)
        seen.add(name)
        if found is None:
            continue
        parts = {file.parts[0] for file in found.files or ()}
        for part in parts - {"..", "__pycache__"}:
            target = folder / part
            if not target.exists():
                target.symlink_to(found.locate_file(part).resolve())
        needed = [r for r in found.requires or () if "extra ==" not in r]
        waiting += [re.match(r"[\w.-]+", r).group() for r in needed]


def make_environment(name, pins, options):
    """Return the Python of an environment with pinned versions, made if necessary."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    wanted = json.dumps([sys.version, pins, options.torch, options.python])
    stamp = folder / "pins.json"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([options.python, "-m", "venv", folder], check=True)
    names = {pin.partition("==")[0]: pin for pin in pins}
    if options.links:
        # torch may need a later one than the package does
        for known in ("torch", "typing_extensions"):
            names.pop(known, None)
        (site,) = folder.glob("lib/python*/site-packages")
        pinned = [n.lower() for n in names]
        link(["torch", "setuptools", "pytest", "polars"], site, ["pip", *pinned])
        names["torch"] = f"torch=={distribution('torch').version}"
    elif options.torch:
        names["torch"] = f"torch=={options.torch}"
    command = [python, "-m", "pip", "install", "-q", "--no-compile"]
    others = {"pytest": "pytest>=8", "polars": "polars>=1.6"}
    subprocess.run([*command, *(others | names).values()], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def run_tests(python, name, arguments):
    """Run tests in an environment; return how many had which outcome."""
    report = ENVIRONMENTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    subprocess.run(
        [*command, f"--junitxml={report}", *arguments],
        cwd=ROOT,
        env=os.environ | variables,
    )
    counts = dict.fromkeys(("passed", "declared", "skipped", "failed"), 0)
    for case in ElementTree.parse(report).iter("testcase"):
        found = next((part for part in case if part.tag != "properties"), None)
        outcome = "passed" if found is None else found.tag
        if outcome == "skipped" and found.get("type") == "pytest.xfail":
            outcome = "declared"
        counts[outcome if outcome in counts else "failed"] += 1
    return counts


def list_versions(python):
    """Return the versions of Python and of the packages shown, in an environment."""
    code = (
        "import platform, sys; from importlib.metadata import version; "
        "print(platform.python_version(), *map(version, sys.argv[1:]))"
    )
    command = [python, "-c", code, *SHOWN]
    return subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()


def main():
    """Test the sets that were asked for, and print the table."""
    sets = {"lowest": read_lowest(), "extras": read_lowest(with_extras=True)}
    sets |= {name: pins.split() for name, pins in SETS.items()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SET", help=", ".join(sets))
    parser.add_argument("--smoke", action="store_true", help="a part, on the lowest")
    parser.add_argument("--torch", help="version to install; else that of here")
    parser.add_argument("--python", default=sys.executable, help="another Python")
    options = parser.parse_args()
    unknown = set(options.names) - set(sets)
    if unknown:
        parser.error(f"no such set: {', '.join(unknown)}; use {', '.join(sets)}")
    options.links = options.torch is None and options.python == sys.executable
    names = options.names or (["lowest"] if options.smoke else list(sets))
    lines, n_failed = [], 0
    for name in names:
        python = make_environment(name, sets[name], options)
        arguments = [*TESTS, "-k", SMOKE if options.smoke else SELECTED]
        if name == "extras":
            arguments = EXTRA_TESTS
        counts = run_tests(python, name, arguments)
        n_failed += counts["failed"] or not counts["passed"]
        cells = [*list_versions(python), *map(str, counts.values())]
        lines.append(f"| {' | '.join([*cells, date.today().isoformat()])} |")
    titles = ["Python", *SHOWN, "passed", "declared", "skipped", "failed", "tried on"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    print("\n".join(lines))
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
