"""Run examples where there is no display, and save their pictures.

``python tools/run_examples.py plot_outliers plot_missing --save pictures`` runs two of
them; without names, all run. The pictures of ``plot_outliers.py`` are
``plot_outliers_1.png``, ``plot_outliers_2.png`` and so on, in the order of the text.
"""

import argparse
import os
import runpy
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES.parent))


def run(path, folder):
    """Run a script and return the pictures it would have shown."""
    saved = []

    def save(*args, **kwargs):
        for number in plt.get_fignums():
            picture = folder / f"{path.stem}_{len(saved) + 1}.png"
            plt.figure(number).savefig(picture, dpi=110)
            plt.close(number)
            saved.append(picture)

    show, plt.show = plt.show, save
    try:
        runpy.run_path(str(path), run_name="__main__")
        save()
    finally:
        plt.show = show
        plt.close("all")
    return saved


def main():
    """Run the examples that are named."""
    stories = [path.stem for path in sorted(EXAMPLES.glob("plot_*.py"))]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="such as plot_outliers"
    )
    parser.add_argument("--save", type=Path, default=Path(), metavar="FOLDER")
    options = parser.parse_args()
    names = [name.removesuffix(".py") for name in options.names] or stories
    if unknown := set(names) - set(stories):
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {stories}")
    options.save.mkdir(parents=True, exist_ok=True)
    for name in names:
        for picture in run(EXAMPLES / f"{name}.py", options.save):
            print(f"picture: {os.path.relpath(picture)}")


if __name__ == "__main__":
    main()
