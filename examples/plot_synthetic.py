r"""
Synthetic rows, and how to judge them
=====================================

Rows drawn from the model in place of a mixed table: column by column, pair by pair, and
by what a classifier learns from them. Then rows under a condition. (Synthetic rows are
no guarantee of privacy: nothing here bounds what one row contributes.)
"""

# %%
# Draw as many rows as there are
# ------------------------------
#
# Half of the table trains, the other half judges. What chance alone leaves is shown by
# the training rows themselves, held against the same test rows.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from skvae import VAETransformer
from skvae.datasets import make_mixed

rows = make_mixed(n_samples=3000, random_state=0)
train, test = rows[:1500], rows[1500:].reset_index(drop=True)
vae = VAETransformer(n_components=4, max_epochs=30, random_state=0).fit(train)
drawn = vae.sample(len(train), random_state=0)
# every column shuffled by itself: right marginals, nothing else
generator = np.random.default_rng(0)
shuffled = pd.DataFrame(
    {name: train[name].array[generator.permutation(len(train))] for name in train}
)
sources = {"training rows": train, "drawn": drawn, "shuffled": shuffled}

# %%
# Columns, pairs, and what can be learned
# ---------------------------------------
#
# Kolmogorov-Smirnov distance of numbers, total variation of levels; the mean difference
# of rank correlations (levels in order of their codes, of regions one by one); and the
# area under the ROC curve of classifiers that are trained on each source to predict
# `owns_home` and tested on real rows.

numbers, levels = ["age", "income", "visits", "savings"], ["region", "education"]
target = "owns_home"


def measure_columns(found):
    """Return the distance of every column to that of the test rows."""
    distances = {c: ks_2samp(found[c], test[c]).statistic for c in numbers}
    for c in [*levels, target]:
        shares = [part[c].value_counts(normalize=True) for part in (found, test)]
        distances[c] = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
    return distances


def correlate(found):
    """Return rank correlations of all columns."""
    coded = pd.get_dummies(found["region"]).join(found[[*numbers, target]])
    coded["education"] = found["education"].cat.codes
    return coded.astype(float).corr("spearman")


def learn(found):
    """Return the area under the ROC curve of two classifiers on real test rows."""

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
print(f"{'':<14} columns  pairs  AUC on real rows")
for name, found in sources.items():
    columns = np.mean(list(measure_columns(found).values()))
    pairs = np.abs((correlate(found) - truth).to_numpy()).mean()
    print(f"{name:<14} {columns:7.3f} {pairs:6.3f} {learn(found):8.3f}")

# %%
# Side by side
# ------------
#
# Look as well: a distance does not say what is wrong. The atom of savings at 0 is
# there, and so is the tail of incomes.

figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), layout="constrained")
colours = {"real": "#17191d", "drawn": "#1f6fb2"}
both = {"real": test, "drawn": drawn}
bins = {
    "income": np.linspace(0, 150, 39),
    "savings": np.linspace(-0.25, 18, 38),
    "visits": np.arange(-0.5, 15),
}
for ax, (name, edges) in zip(axes[0], bins.items(), strict=True):
    unit = 1 if name == "visits" else 1000
    for label, found in both.items():
        style = {"alpha": 0.35} if label == "real" else {"histtype": "step", "lw": 1.8}
        ax.hist(found[name] / unit, edges, color=colours[label], label=label, **style)
    ax.set(title=name if unit == 1 else f"{name}, thousands", ylabel="rows", yticks=[])
axes[0, 0].legend(frameon=False)
place = np.arange(3)
for offset, (label, found) in zip((-0.2, 0.2), both.items(), strict=True):
    shares = found["education"].value_counts(normalize=True, sort=False)
    axes[1, 0].bar(
        place + offset,
        shares,
        0.38,
        color=colours[label],
        alpha=0.35 + 0.5 * (offset > 0),
    )
axes[1, 0].set(title="education", xticks=place, xticklabels=shares.index, yticks=[])
axes[1, 0].set_ylabel("share of rows")
for ax, (label, found) in zip(axes[1, 1:], both.items(), strict=True):
    saves = found["savings"] > 0
    for chosen, colour in ((saves, "#1f6fb2"), (~saves, "#e08e3c")):
        part = found[chosen]
        ax.plot(part["age"], part["income"] / 1000, ".", ms=3, c=colour)
    ax.set(title=label, xlabel="age", ylabel="income, thousands")
    ax.set(xlim=(0, 95), ylim=(0, 150))
axes[1, 1].plot([], [], ".", c="#1f6fb2", label="with savings")
axes[1, 1].plot([], [], ".", c="#e08e3c", label="without")
axes[1, 1].legend(loc="upper left", framealpha=0.9)

# %%
# Under a condition
# -----------------
#
# `given` fixes any columns; the others follow. Beside the test rows that happen to
# agree:

for given in ({"education": "degree"}, {"region": "north", "savings": 0}):
    found = vae.sample(1000, given=given, random_state=0)
    same = test[np.all([test[c] == value for c, value in given.items()], axis=0)]
    print(f"{given}: {len(same)} test rows")
    for name in ("age", "income"):
        real, made = same[name].mean(), found[name].mean()
        error = same[name].std() / np.sqrt(len(same))
        print(f"  mean {name:<7} real {real:8.0f} ± {error:.0f}, drawn {made:8.0f}")
plt.show()
