r"""
A search on many workers
========================

The fits of a search do not depend on one another, so that an engine with workers can
run them side by side. scikit-learn leaves its fits to joblib, and joblib leaves them to
Dask, Ray or Spark where it is told so, by one line around `fit`.
"""

# %%
# Candidates
# ----------
#
# How many components has a table of 30 columns, and do networks describe it better than
# the linear model, factor analysis? Eight candidates and three folds are 24 fits. The
# score is the ELBO of rows that were not fitted, in nats in the units of the columns.

from contextlib import ExitStack

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from skvae import VAETransformer

X = load_breast_cancer().data
networks = {"linear model": (), "networks": (64, 64)}
search = GridSearchCV(
    VAETransformer(
        density="joint", likelihood="gaussian", max_epochs=12, random_state=0
    ),
    {"n_components": [1, 2, 4, 8], "hidden_layer_sizes": list(networks.values())},
    cv=ShuffleSplit(3, test_size=0.2, random_state=0),
    refit=False,
)

# %%
# Workers
# -------
#
# With Dask, ``pip install "dask[distributed]"``, a `Client` stands for the workers.
# Here they are threads of this process; the address of a scheduler,
# `Client("tcp://scheduler:8786")`, is the one thing to change for a cluster. Where Dask
# is not installed, two processes of joblib do the same. Scores are equal either way.

with ExitStack() as stack:
    try:
        from dask.distributed import Client
    except ImportError:
        print("dask.distributed is not installed: two processes of joblib")
        stack.enter_context(joblib.parallel_config("loky", n_jobs=2))
    else:
        client = Client(processes=False, threads_per_worker=2, dashboard_address=None)
        stack.enter_context(client)
        stack.enter_context(joblib.parallel_config("dask"))
        print(f"Dask with {sum(client.nthreads().values())} threads")
    search.fit(X)

# %%
# What was found
# --------------
#
# Differences between candidates on the same fold are what matters; the bars are the
# standard errors, over folds, of the difference from the first candidate.

found = search.cv_results_
folds = np.stack([found[f"split{k}_test_score"] for k in range(3)], axis=-1)
sizes = np.array([p["n_components"] for p in found["params"]])
layers = np.array([len(p["hidden_layer_sizes"]) for p in found["params"]])
gain = folds - folds[(sizes == 1) & (layers == 0)]
print("best:", search.best_params_)

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
colours = ("#8a8f98", "#1f6fb2")
for (name, hidden), colour, fmt in zip(networks.items(), colours, "so", strict=True):
    mine = layers == len(hidden)
    error = gain[mine].std(axis=1, ddof=1) / np.sqrt(3)
    mean = gain[mine].mean(axis=1)
    ax.errorbar(
        *(sizes[mine], mean, error), fmt=f"{fmt}-", capsize=4, color=colour, label=name
    )
ax.set(
    title="Breast cancer: 24 fits of a search",
    xlabel="components",
    ylabel="gain over one linear component,\nheld-out nats per row",
    xscale="log",
    xticks=[1, 2, 4, 8],
    xticklabels=[1, 2, 4, 8],
)
ax.minorticks_off()
ax.legend(frameon=False, loc="lower right")
plt.show()
