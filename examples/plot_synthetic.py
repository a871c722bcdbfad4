r"""
Synthetic rows and how to evaluate them
=======================================

Rows sampled from the model replace a mixed table. We evaluate single columns, pairs of
columns, what a classifier learns from the rows, whether another one can tell them from
real rows, and whether they copy training rows. Then we sample rows under a condition.
"""

# %%
# Sample as many rows as there are
# --------------------------------
#
# Half of the table is used for training, the other half for evaluation. As a reference,
# the training rows themselves are compared with the same test rows, which shows the
# differences that arise by chance.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.datasets import make_mixed
from skvae.plots import SamplesDisplay

rows = make_mixed(n_samples=3000, random_state=0)
train, test = rows[:1500], rows[1500:].reset_index(drop=True)
vae = VAETransformer(n_components=4, max_epochs=30, random_state=0).fit(train)
drawn = vae.sample(len(train), random_state=0)
# each column shuffled separately: keeps the marginals, removes all dependence
generator = np.random.default_rng(0)
shuffled = pd.DataFrame(
    {name: train[name].array[generator.permutation(len(train))] for name in train}
)
sources = {"training rows": train, "drawn": drawn, "shuffled": shuffled}

# %%
# Columns, pairs and a classifier
# -------------------------------
#
# Columns are compared by the Kolmogorov-Smirnov distance of numbers and the total
# variation of levels; pairs by the mean difference of rank correlations (education
# coded by the order of its levels, one indicator for each region). Then classifiers are
# trained on each source to predict `owns_home`, and their area under the ROC curve is
# computed on real rows. Finally, a two-sample test: a classifier is trained to
# tell the rows of a source from test rows; an area of 0.5 means that it cannot.

numbers, levels = ["age", "income", "visits", "savings"], ["region", "education"]
target = "owns_home"


def measure_columns(found):
    """Return the distance between every column and that of the test rows."""
    distances = {c: ks_2samp(found[c], test[c]).statistic for c in numbers}
    for c in [*levels, target]:
        shares = [part[c].value_counts(normalize=True) for part in (found, test)]
        distances[c] = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
    return distances


def encode(found):
    """Return all columns as numbers."""
    coded = pd.get_dummies(found["region"]).join(found[[*numbers, target]])
    coded["education"] = found["education"].cat.codes
    return coded.astype(float)


def correlate(found):
    """Return rank correlations of all columns."""
    return encode(found).corr("spearman")


def test_two_samples(found):
    """Return how well boosted trees tell rows from test rows, held-out AUC."""
    both = pd.concat([encode(found), encode(test)])
    is_real = np.repeat([0, 1], [len(found), len(test)])
    trees = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return cross_val_score(trees, both, is_real, cv=folds, scoring="roc_auc").mean()


def learn(found):
    """Return the mean area under the ROC curve of two classifiers on test rows."""

    def make_features(part):
        scaled = part[["age", "visits"]].assign(
            income=np.log(part["income"].clip(lower=1)),
            savings=np.log1p(part["savings"].clip(lower=0)),
            education=part["education"].cat.codes,
        )
        flags = [part["region"] == level for level in ("north", "south", "west")]
        return np.column_stack([scaled, *flags])

    models = (
        LogisticRegression(max_iter=1000),
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
    )
    scores = []
    for model in models:
        model.fit(make_features(found), found[target].astype(bool))
        chance = model.predict_proba(make_features(test))[:, 1]
        scores.append(roc_auc_score(test[target], chance))
    return np.mean(scores)


truth = correlate(test)
print(f"{'':<14} columns  pairs  AUC on real rows  two-sample AUC")
for name, found in sources.items():
    columns = np.mean(list(measure_columns(found).values()))
    pairs = np.abs((correlate(found) - truth).to_numpy()).mean()
    learned, told = learn(found), test_two_samples(found)
    print(f"{name:<14} {columns:7.3f} {pairs:6.3f} {learned:17.3f} {told:6.2f}")

# %%
# Side by side
# ------------
#
# Look at the plots as well, since a distance does not show what is wrong. The atom of
# savings at 0 is reproduced, and so is the tail of incomes.

figure, axes = plt.subplots(2, 4, figsize=(12, 5), layout="constrained")
axes[1, 3].set_axis_off()
_ = SamplesDisplay.from_samples(drawn, test, ax=axes)

# %%
# Pairs show what single columns cannot: incomes grow with education and with age.

_ = SamplesDisplay.from_samples(
    drawn[:400], test[:400], kind="pairs", columns=["age", "income", "education"]
)

# %%
# Are training rows copied?
# -------------------------
#
# The distance of a row to the closest training row, beside that of test rows, which the
# model has never seen. If drawn rows were copies, their curve would be far to the left.
# (This is a check, not a guarantee of privacy: nothing bounds the influence of a single
# row.)

scaler = StandardScaler().fit(encode(train))
closest = NearestNeighbors(n_neighbors=1).fit(scaler.transform(encode(train)))
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, found in {"drawn rows": drawn, "test rows": test}.items():
    distances = closest.kneighbors(scaler.transform(encode(found)))[0][:, 0]
    colour = "#1f6fb2" if name == "drawn rows" else "#8a8f98"
    ax.ecdf(distances, color=colour, label=name)
    print(f"{name}, median distance: {np.median(distances):.2f}")
ax.set(
    title="Distance to the closest training row",
    xlabel="distance, standard deviations",
    ylabel="share of rows at or below",
    xlim=(0, 3),
)
ax.legend(frameon=False)

# %%
# Conditional samples
# -------------------
#
# `given` fixes any set of columns, and the others are sampled accordingly. For
# comparison, here are the test rows that meet the same condition:

for given in ({"education": "degree"}, {"region": "north", "savings": 0}):
    found = vae.sample(1000, given=given, random_state=0)
    same = test[np.all([test[c] == value for c, value in given.items()], axis=0)]
    print(f"{given}: {len(same)} test rows")
    for name in ("age", "income"):
        real, made = same[name].mean(), found[name].mean()
        error = same[name].std() / np.sqrt(len(same))
        print(f"  mean {name:<7} real {real:8.0f} ± {error:.0f}, drawn {made:8.0f}")
plt.show()
