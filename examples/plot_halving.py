r"""
Halving over epochs with warm starts
====================================

A search need not train every candidate to the end. Successive halving gives all
candidates a few epochs, drops the worse half, and goes on with the others. With
`warm_start=True` they train on from where they are: no epoch is run twice.
"""

# %%
# Candidates
# ----------
#
# Eight models of black and white digits differ in learning rate and size of the
# network. A part of the rows is held out to compare them. `early_stopping=False` leaves
# the number of epochs to the search.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    HalvingGridSearchCV,
    ParameterGrid,
    train_test_split,
)

from skvae import VAETransformer

X = (load_digits().data[:800] > 7).astype(float)
train, valid = train_test_split(X, test_size=0.3, random_state=0)
model = VAETransformer(
    n_components=8,
    likelihood="bernoulli",
    early_stopping=False,
    warm_start=True,
    random_state=0,
)
grid = {
    "lr": [0.0003, 0.001, 0.003, 0.01],
    "hidden_layer_sizes": [(32,), (64, 64)],
}
candidates = [clone(model).set_params(**point) for point in ParameterGrid(grid)]

# %%
# Halving
# -------
#
# Every round doubles the epochs that a survivor has had: 4, 8, 16, 32. `max_epochs` is
# the number of further ones, and `fit` trains the fitted model on. Rounds may run in
# parallel: `joblib.Parallel` returns fitted candidates.

curves = {number: [] for number in range(len(candidates))}
alive, n_epochs, n_run = list(curves), 0, 0
while True:
    n_more = max(n_epochs, 4)
    n_epochs += n_more
    for number in alive:
        candidate = candidates[number].set_params(max_epochs=n_more).fit(train)
        curves[number].append((n_epochs, candidate.score(valid)))
    n_run += n_more * len(alive)
    ranked = sorted(alive, key=lambda number: -curves[number][-1][1])
    if len(ranked) == 1:
        break
    alive = ranked[: len(ranked) // 2]

best = candidates[alive[0]]
print(f"{n_run} epochs, of {n_epochs * len(candidates)} of the whole grid")
print(f"lr={best.lr}, hidden_layer_sizes={best.hidden_layer_sizes}")
print(f"{best.n_iter_} epochs: {best.score(valid):.2f} nats per held-out row")

# %%
# `fit` once more trains the winner on; for the model that is used in the end, a new fit
# with `early_stopping=True` decides when to stop by rows of its own.

# %%
# With scikit-learn
# -----------------
#
# `HalvingGridSearchCV` with `max_epochs` as the resource makes the same search in one
# call, and cross-validates. It clones candidates for every round, so each trains anew.

rows = np.arange(len(X))
split = [train_test_split(rows, test_size=0.3, random_state=0)]
search = HalvingGridSearchCV(
    clone(model),
    grid,
    resource="max_epochs",
    min_resources=4,
    max_resources=32,
    factor=2,
    cv=split,
    refit=False,
    random_state=0,
).fit(X)
n_anew = sum(
    n * n_resources
    for n, n_resources in zip(search.n_candidates_, search.n_resources_, strict=True)
)
print(f"{n_anew} epochs: {search.best_params_}")

# %%
# Held-out scores of all candidates, each until it was dropped; the chosen one is blue:

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
worst = min(set(curves) - {alive[0]})
for number, curve in curves.items():
    is_best = number == alive[0]
    colour = "#1f6fb2" if is_best else "#8a8f98"
    label = "kept to the end" if is_best else "dropped" if number == worst else None
    ax.plot(*np.transpose(curve), "o-", color=colour, zorder=2 + is_best, label=label)
ax.set(
    title="Digits: candidates of a search",
    xlabel="epochs",
    ylabel="held-out nats per row",
    xscale="log",
    xticks=[4, 8, 16, 32],
    xticklabels=[4, 8, 16, 32],
)
ax.minorticks_off()
ax.legend(title="candidates", frameon=False, loc="lower right")
plt.show()
