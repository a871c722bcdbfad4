"""Five uses of one model: map, density, missing values, outliers, new rows.

``python examples/quickstart.py [PICTURE]`` prints what it finds and saves a picture, by
default as ``quickstart.png`` in the current folder.
"""

import os
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.metrics import r2_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer

PICTURE = Path("quickstart.png")
COLOURS = {
    "PCA": "#8a8f98",
    "FactorAnalysis": "#e08e3c",
    "GaussianMixture": "#4f9d69",
    "VAE": "#1f6fb2",
}
CLASS_COLOURS = ("#c43c5a", "#2a9d8f")
FILLED, ODD, GIVEN, DRAWN = "#cfe3f5", "#f6c6ce", "#d9d9de", "#d5eee0"
# columns of the mixed table, and the digits that are shown of them
COLUMNS = {
    "radius": 1,
    "texture": 1,
    "perimeter": 0,
    "area": 0,
    "smoothness": 3,
    "concavity": 3,
    "symmetry": 3,
}


def fit_models(X_train):
    """Return pipelines with two components each.

    Those of the mixture are normal distributions with full covariances: no other number
    of them scores the held-out rows better.
    """
    mixture = GaussianMixture(n_components=2, reg_covar=1e-3, random_state=0)
    models = {
        "PCA": PCA(n_components=2),
        "FactorAnalysis": FactorAnalysis(n_components=2),
        "GaussianMixture": mixture,
        "VAE": VAETransformer(n_components=2, random_state=0),
    }
    return {
        name: Pipeline([("scale", StandardScaler()), ("model", clone(model))]).fit(
            X_train
        )
        for name, model in models.items()
    }


def report(models, X_test):
    """Print the scores of held-out rows, and the variance that components keep."""
    print(f"{len(X_test)} held-out rows of {X_test.shape[1]} columns, 2 components")
    print("log-density, nats per row (higher is better)")
    for name, model in models.items():
        print(f"  {name:<15}{model.score(X_test):8.2f}")
    print("share of the variance that two components keep")
    kept = {name: compute_kept(models[name], X_test) for name in ("PCA", "VAE")}
    for name, share in kept.items():
        print(f"  {name:<15}{share:8.2f}")
    return kept


def compute_kept(model, X):
    """Return the share of the variance of X that is left in a reconstruction."""
    scaled = model["scale"].transform(X)
    back = model["model"].inverse_transform(model["model"].transform(scaled))
    return r2_score(scaled, back, multioutput="variance_weighted")


def make_mixed_table():
    """Return measurements with the diagnosis, complete and with missing cells."""
    data = load_breast_cancer(as_frame=True)
    whole = data.data[[f"mean {name}" for name in COLUMNS]].set_axis(COLUMNS, axis=1)
    whole = whole.assign(diagnosis=data.target_names[data.target])
    whole = whole.sample(frac=1, random_state=0, ignore_index=True)
    is_missing = np.random.default_rng(0).random(whole.shape) < 0.1
    return whole, whole.mask(is_missing)


def do_jobs(whole, table, n_train=400):
    """Fill, explain and draw; return rows, true rows and the colours of cells."""
    vae = VAETransformer(random_state=0).fit(table[:n_train])
    new, true = table[n_train:], whole[n_train:]
    filled = vae.impute(new)
    is_missing = new["diagnosis"].isna()
    right = (filled["diagnosis"] == true["diagnosis"])[is_missing]
    print(f"missing diagnoses of new rows: {right.sum()} of {len(right)} filled right")
    # two rows that lack the diagnosis, and one that lacks the area
    shown = [*new.index[is_missing][:2], *new.index[new["area"].isna()][:1]]
    fills = paint(filled.loc[shown]).mask(new.loc[shown].isna(), FILLED)

    detector = VAEOutlierDetector(random_state=0).fit(table[:n_train])
    odd = true[true["diagnosis"] == "benign"].iloc[[3]].copy()
    odd["smoothness"] *= 1.6
    reason = detector.explain(odd).iloc[0].idxmin()
    p_value = detector.p_values(odd)[0]
    print(f"a mistyped row: p = {p_value:.3f}, because of {reason}")

    drawn = vae.sample(3, given={"diagnosis": "malignant"}, random_state=0)
    return {
        "missing values, filled": (filled.loc[shown], true, fills),
        f"an outlier (p = {p_value:.3f}), explained": (
            odd,
            true,
            paint(odd, {reason: ODD}),
        ),
        "rows drawn, given the diagnosis": (
            drawn,
            None,
            paint(drawn, dict.fromkeys(COLUMNS, DRAWN) | {"diagnosis": GIVEN}),
        ),
    }


def paint(rows, colours=()):
    """Return a table of colours, white but for some columns."""
    return pd.DataFrame("white", rows.index, rows.columns).assign(**dict(colours))


def plot_plane(ax, model, X, y, labels, title):
    """Show rows in the plane of a model's two components."""
    Z = model.transform(X)
    for value, (label, colour) in enumerate(zip(labels, CLASS_COLOURS, strict=True)):
        ax.scatter(*Z[y == value].T, s=16, c=colour, alpha=0.75, lw=0, label=label)
    ax.set(title=title, xlabel="component 1", ylabel="component 2")
    ax.legend(loc="best", frameon=False)


def plot_scores(ax, models, X):
    """Show mean log-densities of rows, with standard errors."""
    for place, (name, model) in enumerate(models.items()):
        scores = model.score_samples(X)
        error = scores.std() / np.sqrt(len(scores))
        style = {"color": COLOURS[name], "fmt": "o", "ms": 9, "lw": 2}
        ax.errorbar(scores.mean(), place, xerr=error, **style)
        text = f"{scores.mean():.1f}".replace("-", "−")
        ax.annotate(text, (scores.mean(), place - 0.22), ha="center", va="bottom")
    ax.set(
        title="Density: log-density of held-out rows",
        xlabel="nats per row, mean ± standard error (more is better)",
        ylim=(len(models) - 0.5, -0.7),
        yticks=range(len(models)),
        yticklabels=list(models),
    )
    ax.margins(x=0.15)


def plot_table(ax, groups):
    """Write rows of a table, with colours for what the model did."""
    names = [*COLUMNS, "diagnosis"]
    place = 0.0
    for column, name in enumerate(names):
        ax.text(column + 0.5, -0.5, name, ha="center", va="center", weight="bold")
    for title, (rows, true, colours) in groups.items():
        label = title.replace(", ", ",\n")
        ax.text(-0.1, place + len(rows) / 2, label, ha="right", va="center")
        for row in rows.index:
            for column, name in enumerate(names):
                colour = colours.loc[row, name]
                look = {"fc": colour, "ec": "#c8c8cc", "lw": 0.6}
                ax.add_patch(Rectangle((column, place), 1, 1, **look))
                middle = column + 0.5
                text = write(name, rows.loc[row, name])
                if true is None or colour == "white":
                    ax.text(middle, place + 0.5, text, ha="center", va="center")
                    continue
                ax.text(middle, place + 0.35, text, ha="center", va="center")
                text = f"true: {write(name, true.loc[row, name])}"
                small = {"ha": "center", "va": "center", "size": 7, "color": "#55585f"}
                ax.text(middle, place + 0.78, text, **small)
            place += 1
        place += 0.4
    ax.set(xlim=(-2.4, len(names)), ylim=(place - 0.3, -1))
    ax.set_title("One model of a table with numbers, categories and missing values")
    ax.axis("off")


def write(name, value):
    """Return the text of a cell."""
    return f"{value:.{COLUMNS[name]}f}" if name in COLUMNS else str(value)


def main(picture=PICTURE):
    """Fit, print and plot."""
    data = load_breast_cancer()
    X_train, X_test, _, y_test = train_test_split(
        data.data, data.target, test_size=0.3, stratify=data.target, random_state=0
    )
    models = fit_models(X_train)
    kept = report(models, X_test)
    groups = do_jobs(*make_mixed_table())
    with plt.rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
        }
    ):
        figure = plt.figure(figsize=(10, 7.4), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=[1.15, 1])
        left, right = (figure.add_subplot(grid[0, k]) for k in range(2))
        title = f"Map: {kept['VAE']:.0%} of the variance (PCA {kept['PCA']:.0%})"
        plot_plane(left, models["VAE"], X_test, y_test, data.target_names, title)
        plot_scores(right, models, X_test)
        plot_table(figure.add_subplot(grid[1, :]), groups)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, dpi=110)
    print(f"picture: {os.path.relpath(picture)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
