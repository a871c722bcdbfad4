r"""
A mixed table from end to end
=============================

A table with numbers, counts, booleans, strings, ordered categories and missing values,
as it might come from a file. It is fitted, plotted, scored, imputed, sampled and saved
without an encoder, a scaler or an imputer.
"""

# %%
# The table
# ---------
#
# Customers, generated from two factors that are not columns themselves, such as age and
# wealth. Half of the savings are exactly 0, and a tenth of all cells is missing.

import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np

from skvae import VAETransformer
from skvae.datasets import make_mixed
from skvae.plots import LatentMapDisplay, LatentTraversalDisplay

X = make_mixed(n_samples=1000, missing=0.1, random_state=0)
print(X.head(4).to_string())

# %%
# `fit` accepts the table as it is. `columns_` shows how each column is treated.

vae = VAETransformer(n_components=2, max_epochs=15, random_state=0).fit(X)
shown = ["kind", "likelihood", "levels", "missing"]
print(vae.columns_.to_frame()[shown].to_string(float_format="{:.2f}".format))

# %%
# The components
# --------------
#
# `transform` returns two numbers per row, also for incomplete rows. The two factors are
# recovered: one direction corresponds to age, the other to income and related levels.

figure, axes = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
for ax, name in zip(axes, ["age", "income", "education"], strict=True):
    LatentMapDisplay.from_estimator(vae, X, X[name], ax=ax, name=f"coloured by {name}")

# %%
# What does each component change? A row from the middle of the map moves along one
# component at a time. The colours are the change of each column, in its standard
# deviations, and the numbers its values at both ends.

_ = LatentTraversalDisplay.from_estimator(vae, X)

# %%
# An anomalous row
# ----------------
#
# A customer with a small income has large savings. Each value by itself is ordinary,
# but their combination is not. `score_samples` finds the row. `score_features`,
# compared with the typical value of each column, finds the cell.
odd = make_mixed(n_samples=200, random_state=1)
odd.loc[7, ["income", "savings", "education"]] = [9_000.0, 15_000, "school"]
scores = vae.score_samples(odd)
cells = vae.score_features(odd)
unusual = (cells - cells.median()).loc[7]
print(f"lowest score: row {scores.argmin()}, {scores.min():.1f} nats", end=" ")
print(f"(median {np.median(scores):.1f})")
for name, nats in unusual.nsmallest(3).items():
    print(f"  {name:<10} {nats:6.1f} nats from the median of its column")

# %%
# Imputation and new rows
# -----------------------
#
# The results have the columns, types and levels of the table. Missing cells are filled
# with what is expected given the rest of the row; the complete table shows how accurate
# this is.

filled = vae.impute(X)
whole = make_mixed(n_samples=1000, random_state=0)
gone = X.isna()
for name in ("region", "education", "owns_home"):
    is_right = (filled[name].astype(str) == whole[name].astype(str))[gone[name]].mean()
    usual = whole[name].value_counts(normalize=True).max()
    print(f"{name:<10} {is_right:.0%} right; always the most frequent: {usual:.0%}")

drawn = vae.sample(1000, random_state=0)
print(drawn.head(3).to_string())
print("types as they were:", bool((drawn.dtypes == X.dtypes).all()))
print(f"savings of 0: {(whole['savings'] == 0).mean():.0%} of the rows,", end=" ")
print(f"{(drawn['savings'] == 0).mean():.0%} of the draws")

# %%
# Saving and loading
# ------------------
#
# Kinds, levels and types are saved with the model. (Loading a joblib file can run
# arbitrary code: open only your own files.)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "customers.joblib"
    joblib.dump(vae, path)
    restored = joblib.load(path)
print("equal scores:", np.array_equal(restored.score_samples(X), vae.score_samples(X)))
plt.show()
