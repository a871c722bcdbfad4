r"""
Outliers and their explanations
===============================

In a table with missing values, one cell of a row has been overwritten with the value of
another row. Every value by itself is ordinary; the combination is not. Which detector
finds such rows, and which one finds the cell?
"""

# %%
# The table
# ---------
#
# Measurements of tumours, a tenth of the cells missing. Radius, perimeter and area
# depend closely on one another, others less so. The first 300 rows are fitted; each of
# the others is scored twice, as it is and with one wrong cell.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.impute import KNNImputer
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector
from skvae.plots import FeatureScoresDisplay

random = np.random.default_rng(0)
table = load_breast_cancer(as_frame=True).data.iloc[:, :10]
table = table.sample(frac=1, random_state=0, ignore_index=True)
table = table.mask(random.random(table.shape) < 0.1)
train, clean = table[:300], table[300:].reset_index(drop=True)

wrong = clean.copy()
columns = np.array([random.choice(np.flatnonzero(row)) for row in clean.notna().values])
for row, column in enumerate(columns):
    wrong.iloc[row, column] = random.choice(train.iloc[:, column].dropna())

# %%
# Three detectors
# ---------------
#
# The forest and the neighbours need complete columns on one scale. The mean distance to
# five neighbours is hard to beat on many tables. Distances also suggest a cell: the one
# in which a row is farthest from its neighbours. A forest suggests none.
#
# `VAEOutlierDetector` takes the table as it is. Its default score pools that of the
# model and the distance from the nearest rows; `tempered` is the score of the model
# alone.

prepare = make_pipeline(KNNImputer(), StandardScaler()).fit(train)
prepared = {
    name: prepare.transform(X)
    for name, X in zip(("train", "clean", "wrong"), (train, clean, wrong), strict=True)
}
forest = IsolationForest(random_state=0).fit(prepared["train"])
neighbours = NearestNeighbors(n_neighbors=5).fit(prepared["train"])
detector = VAEOutlierDetector(random_state=0).fit(train)

scores = {
    "isolation forest": [forest.score_samples(prepared[k]) for k in ("clean", "wrong")],
    "5 neighbours": [
        -neighbours.kneighbors(prepared[k])[0].mean(axis=1) for k in ("clean", "wrong")
    ],
}
distances = prepared["train"][neighbours.kneighbors(prepared["wrong"])[1]]
distances = ((distances - prepared["wrong"][:, None]) ** 2).mean(axis=1)
named = {"5 neighbours": distances.argmax(axis=1)}
for name, method in (("detector", "pooled"), ("its model alone", "tempered")):
    scores[name] = [detector.score_samples(X, method) for X in (clean, wrong)]
named["detector"] = np.nanargmin(detector.explain(wrong), axis=1)

# %%
# What they find
# --------------
#
# The area under the ROC curve is the chance that a row with a wrong cell has a lower
# score than another row without one. Many wrong cells cannot be found by anything,
# because the value is by chance close to the right one.

is_wrong = np.repeat([False, True], len(clean))
areas = {
    name: roc_auc_score(is_wrong, -np.concatenate(s)) for name, s in scores.items()
}
shares = {name: (found == columns).mean() for name, found in named.items()}
for name, area in areas.items():
    share = f"{shares[name]:.0%}" if name in shares else "-"
    print(f"{name:<20} AUROC {area:.2f}   right cell {share}")

# %%
# The row on the right is one of the lowest. Its explanation compares how likely each
# cell is, given the rest of the row, with what is usual in its column. Bars are in
# nats: 7 nats less are a probability a thousand times smaller.

row = int(scores["detector"][1].argsort()[20])
figure, axes = plt.subplots(
    1, 3, figsize=(13, 3.6), layout="constrained", width_ratios=[1, 1, 1.3]
)
colours = dict(zip(areas, ("#c9ccd1", "#e08e3c", "#1f6fb2", "#7fb2d9"), strict=True))
for ax, values in zip(axes, (areas, shares), strict=False):
    bars = ax.barh(list(values), list(values.values()))
    for bar, name in zip(bars, values, strict=True):
        bar.set_color(colours[name])
    ax.bar_label(bars, fmt="%.2f", padding=3)
    ax.invert_yaxis()
axes[0].set(title="Rows with a wrong cell", xlim=(0.5, 0.82))
axes[0].set_xlabel("AUROC (0.5 is chance)")
axes[1].set(title="The cell to blame", xlim=(0.1, 0.75))
axes[1].set_xlabel("share named correctly (0.1 is chance)")
FeatureScoresDisplay.from_estimator(
    detector, wrong.iloc[[row]], n_features=5, ax=axes[2]
)
name = table.columns[columns[row]]
true = clean[name][row]
axes[2].set_title(f"One row: {name} was {true:.4g}")
print("p-value of this row:", detector.p_values(wrong.iloc[[row]])[0].round(3))
plt.show()
