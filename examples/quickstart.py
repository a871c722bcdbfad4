"""Fit a VAE in a scikit-learn pipeline and evaluate it on held-out rows.

``python examples/quickstart.py [PICTURE]`` prints scores and saves a picture, by
default as ``quickstart.png`` in the current folder.
"""

import os
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.metrics import r2_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

PICTURE = Path("quickstart.png")
COLOURS = {
    "PCA": "#8a8f98",
    "FactorAnalysis": "#e08e3c",
    "GaussianMixture": "#4f9d69",
    "VAE": "#1f6fb2",
}
CLASS_COLOURS = ("#c43c5a", "#2a9d8f")
PAIR = ("mean radius", "mean area")


def fit_models(X_train):
    """Return pipelines with two components each.

    Those of the mixture are normal distributions with full covariances: no other number
    of them scores the held-out rows better.
    """
    mixture = GaussianMixture(n_components=2, reg_covar=1e-3, random_state=0)
    scale = StandardScaler()
    models = {
        "PCA": Pipeline([("scale", scale), ("pca", PCA(n_components=2))]),
        "FactorAnalysis": Pipeline(
            [("scale", scale), ("fa", FactorAnalysis(n_components=2))]
        ),
        "GaussianMixture": Pipeline([("scale", scale), ("gmm", mixture)]),
        "VAE": Pipeline(
            [("scale", scale), ("vae", VAETransformer(n_components=2, random_state=0))]
        ),
    }
    # cloned, so that every pipeline fits its own scaler
    return {name: clone(model).fit(X_train) for name, model in models.items()}


def report(models, table, X_test):
    """Print scores, a round trip through the latent, and a new row."""
    print(f"{len(X_test)} held-out rows of {X_test.shape[1]} columns, 2 components")
    print("log-density, nats per row (higher is better)")
    for name, model in models.items():
        print(f"  {name:<15}{model.score(X_test):8.2f}")
    print("share of the variance that two components keep")
    scaled = models["PCA"]["scale"].transform(X_test)
    for name in ("PCA", "VAE"):
        model = models[name][-1]
        back = model.inverse_transform(model.transform(scaled))
        share = r2_score(scaled, back, multioutput="variance_weighted")
        print(f"  {name:<15}{share:8.2f}")

    vae = models["VAE"]
    back = vae.inverse_transform(vae.transform(X_test[:1]))
    new = draw_rows(vae, 1)
    print("columns          held out   from 2 components   sampled")
    for j in (0, 3, 6, 20):
        name = table.feature_names[j]
        print(f"  {name:<15}{X_test[0, j]:8.4g}{back[0, j]:20.4g}{new[0, j]:10.4g}")


def draw_rows(model, n_samples):
    """Return new rows of the VAE in the units of the table."""
    rows = model["vae"].sample(n_samples, random_state=0)
    return model["scale"].inverse_transform(rows)


def draw_linear_rows(model, n_samples):
    """Return new rows of factor analysis in the units of the table."""
    linear, random = model["fa"], np.random.default_rng(0)
    rows = linear.mean_ + random.standard_normal((n_samples, 2)) @ linear.components_
    rows += np.sqrt(linear.noise_variance_) * random.standard_normal(rows.shape)
    return model["scale"].inverse_transform(rows)


def plot_plane(ax, model, X, y, labels, title):
    """Show rows in the plane of a model's two components."""
    Z = model.transform(X)
    for value, (label, colour) in enumerate(zip(labels, CLASS_COLOURS, strict=True)):
        ax.scatter(*Z[y == value].T, s=16, c=colour, alpha=0.75, lw=0, label=label)
    ax.set(title=title, xlabel="component 1", ylabel="component 2")


def plot_scores(ax, models, X):
    """Show the distribution of the log-densities of rows."""
    bins = np.linspace(-100, 30, 53)
    for name, model in models.items():
        values = np.clip(model.score_samples(X), bins[0], bins[-1])
        label = f"{name}, mean {model.score(X):.2f}".replace("-", "−")
        colour = COLOURS[name]
        ax.hist(values, bins, color=colour, alpha=0.25)
        ax.hist(values, bins, color=colour, histtype="step", lw=1.6, label=label)
    ax.set(
        title="Log-density of held-out rows",
        xlabel="nats per row (all below −100 in the first bar)",
        ylabel="rows",
    )
    # the legend is above the bars
    ax.set_ylim(top=1.6 * ax.get_ylim()[1])
    ax.legend(loc="upper left", frameon=False)


def plot_samples(ax, rows):
    """Show two columns of sampled rows, with real rows on top."""
    looks = {
        "FactorAnalysis": ("s", COLOURS["FactorAnalysis"], 4.5, 0.55),
        "VAE": ("o", COLOURS["VAE"], 7, 0.4),
        "held out": ("o", "#17191d", 2.6, 1.0),
    }
    for name, (marker, colour, size, alpha) in looks.items():
        label = name if name == "held out" else f"sampled, {name}"
        style = {"ms": size, "mew": 0, "alpha": alpha, "color": colour}
        ax.plot(*rows[name].T, marker, label=label, **style)
    ax.set(title="Real and sampled rows", xlabel=PAIR[0], ylabel=PAIR[1])
    ax.legend(loc="upper left", frameon=False)


def main(picture=PICTURE):
    """Fit, print and plot."""
    table = load_breast_cancer()
    X_train, X_test, _, y_test = train_test_split(
        table.data, table.target, test_size=0.3, stratify=table.target, random_state=0
    )
    models = fit_models(X_train)
    report(models, table, X_test)

    pair = [list(table.feature_names).index(name) for name in PAIR]
    rows = {
        "held out": X_test[:, pair],
        "FactorAnalysis": draw_linear_rows(models["FactorAnalysis"], len(X_test))[
            :, pair
        ],
        "VAE": draw_rows(models["VAE"], len(X_test))[:, pair],
    }
    with plt.rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
        }
    ):
        figure, axes = plt.subplots(2, 2, figsize=(9.6, 7.6), layout="constrained")
        labels = table.target_names
        plot_plane(axes[0, 0], models["PCA"], X_test, y_test, labels, "PCA plane")
        plot_plane(axes[0, 1], models["VAE"], X_test, y_test, labels, "VAE plane")
        axes[0, 1].legend(loc="upper right", frameon=False)
        plot_scores(axes[1, 0], models, X_test)
        plot_samples(axes[1, 1], rows)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, dpi=110)
    print(f"picture: {os.path.relpath(picture)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
