"""Build a release, and try it where only its required dependencies are installed.

``python tools/release.py`` checks that all files name the same version and the same
dependencies, builds wheel and sdist into ``dist/``, checks their metadata with twine,
and installs each into an environment of its own, by pip with ``constraints.txt``. There
the example of the README and `SMOKE` run away from the repository; warnings are errors.
It uploads nothing.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
# what a user does first, on a table of scikit-learn
SMOKE = """
import pickle
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skvae import VAEOutlierDetector, VAETransformer

X = load_iris().data
vae = VAETransformer(2, max_epochs=3, random_state=0)
model = make_pipeline(StandardScaler(), vae).fit(X)
same = pickle.loads(pickle.dumps(model))
assert (same.transform(X) == model.transform(X)).all()
assert vae.sample(5, random_state=0).shape == (5, 4)
assert set(VAEOutlierDetector(max_epochs=3).fit_predict(X)) <= {-1, 1}
"""
RECIPE = "tools/conda/recipe.yaml"
# names that differ between the two package indexes
CONDA_NAMES = {"torch": "pytorch"}


def read(name):
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def find(pattern, name):
    """Return what a pattern finds in a file, or end the script."""
    found = re.search(pattern, read(name), re.M)
    return found.group(1) if found else sys.exit(f"{name}: {pattern} not found")


def check_files():
    """Return the version, the same in all files; so are the dependencies."""
    version = find(r'^__version__ = "([^"]+)"', "skvae/__init__.py")
    named = {
        "CHANGELOG.md": find(r"^## \[([^\]]+)\]", "CHANGELOG.md"),
        "CITATION.cff": find(r"^version: (\S+)", "CITATION.cff"),
        "tools/conda/recipe.yaml": find(
            r'version: "([^"]+)"', "tools/conda/recipe.yaml"
        ),
    }
    for name, other in named.items():
        if other != version:
            sys.exit(f"{name} has version {other}, skvae/__init__.py {version}.")
    project = tomllib.loads(read("pyproject.toml"))["project"]
    run = read(RECIPE).split("\n  run:\n")[1].split("\n\n")[0]
    for item in [f"python{project['requires-python']}", *project["dependencies"]]:
        package, bound = re.fullmatch(r"([\w-]+)(.*)", item).groups()
        wanted = f"- {CONDA_NAMES.get(package, package)} {bound}"
        if wanted not in run:
            sys.exit(
                f"tools/conda/recipe.yaml: {wanted!r} is not among its run packages."
            )
    return version


def call(*command, **options):
    """Run a command, and end the script if it fails."""
    if subprocess.run([str(part) for part in command], **options).returncode:
        sys.exit(f"failed: {' '.join(map(str, command))[:200]}")


def build(version):
    """Return the files of the release."""
    shutil.rmtree(DIST, ignore_errors=True)
    call(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    files = sorted(DIST.glob(f"skvae-{version}*"))
    if [file.suffix for file in files] != [".whl", ".gz"]:
        sys.exit(f"dist/ has {[file.name for file in files]}.")
    call(sys.executable, "-m", "twine", "check", "--strict", *files)
    return files


def try_out(file, example):
    """Install a file into an empty environment, and use it there."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        constraints = ROOT / "constraints.txt"
        call(python, "-m", "pip", "install", "-q", "-c", constraints, file)
        for code in (example, SMOKE):
            call(python, "-W", "error", "-c", code, cwd=folder)


def read_example():
    """Return the first Python example of the README as a script."""
    lines = re.search(r"```python\n(.*?)```", read("README.md"), re.S).group(1)
    return "\n".join(x[4:] for x in lines.splitlines() if x.startswith((">>>", "...")))


def main():
    """Check, build and try."""
    for file in build(check_files()):
        try_out(file, read_example())
        print(f"{file.name}: works with its required dependencies")


if __name__ == "__main__":
    main()
