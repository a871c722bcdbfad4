r"""
A classifier behind a map
=========================

Most rows have no label, and some cells are missing. A map that is fitted to all rows
serves as the first step of a pipeline; the classifier behind it needs the labelled
rows alone. `GridSearchCV` chooses the number of components by the accuracy.
"""

# %%
# The data
# --------
#
# Digits, with a quarter of the pixels missing at random. Forty of them have a label in
# each repetition; the others are unlabelled rows, and rows to test with.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

pixels, digit = load_digits(return_X_y=True)
is_missing = np.random.default_rng(0).random(pixels.shape) < 0.25
X, X_test, y, y_test = train_test_split(
    np.where(is_missing, np.nan, pixels), digit, test_size=0.4, random_state=0
)

# %%
# Maps of all rows
# ----------------
#
# `y` plays no part in them. PCA needs filled cells, here by the mean of each pixel.
# Wrapped in `FrozenEstimator` (scikit-learn 1.6), a fitted map is not fitted again
# inside a pipeline.

sizes = (5, 10, 20)
maps = {
    "PCA": [make_pipeline(SimpleImputer(), PCA(q, random_state=0)) for q in sizes],
    "VAE": [
        VAETransformer(
            q, density=None, standardize=False, max_epochs=15, random_state=0
        )
        for q in sizes
    ],
}
frozen = {
    name: [FrozenEstimator(model.fit(X)) for model in models]
    for name, models in maps.items()
}

# %%
# The pipeline and its search
# ---------------------------
#
# The step `map` is itself a parameter of the search, beside the strength of the
# classifier's penalty. Ten draws of forty labelled rows show how much chance is in an
# accuracy; all methods see the same draws.


def make_search(candidates):
    """Return a search over maps and penalties, by cross-validated accuracy."""
    steps = {
        "map": candidates[0],
        "scale": StandardScaler(),
        "classify": LogisticRegression(max_iter=1000),
    }
    grid = {"map": candidates, "classify__C": [0.01, 0.1, 1.0]}
    return GridSearchCV(Pipeline(list(steps.items())), grid, cv=3)


searches = {
    "pixels, mean for missing": make_search([SimpleImputer()]),
    "PCA, mean for missing": make_search(frozen["PCA"]),
    "VAE": make_search(frozen["VAE"]),
}
accuracy = {name: [] for name in searches}
for seed in range(10):
    some, _, labels, _ = train_test_split(
        X, y, train_size=40, stratify=y, random_state=seed
    )
    for name, search in searches.items():
        accuracy[name].append(search.fit(some, labels).score(X_test, y_test))

# %%
# Differences in the same draw are what matters, not the spread over draws.

for name, values in accuracy.items():
    gain = np.subtract(values, accuracy["PCA, mean for missing"])
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    print(
        f"{name:<25} {np.mean(values):.3f}, minus PCA {gain.mean():+.3f} ± {error:.3f}"
    )

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
colours = ("#e08e3c", "#8a8f98", "#1f6fb2")
for place, (values, colour) in enumerate(zip(accuracy.values(), colours, strict=True)):
    ax.plot(values, [place] * len(values), "o", ms=5, alpha=0.4, color=colour)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    ax.errorbar(
        np.mean(values), place, xerr=error, fmt="D", ms=8, capsize=5, color=colour
    )
ax.set(
    title="Digits with a quarter of the pixels missing, 40 labels",
    xlabel="accuracy on 719 new digits: ten draws, mean ± standard error",
    yticks=range(3),
    yticklabels=list(accuracy),
    ylim=(2.5, -0.5),
)
plt.show()
