r"""
In a pipeline, in a grid search, in a file
==========================================

`VAETransformer` is an estimator like any other: its score is a log-density, so a grid
search can choose the number of components, and the pipeline it sits in can be saved
with joblib.
"""

# %%
# How many components?
# --------------------
#
# Without a `scoring` argument, `GridSearchCV` maximises `score`: for the VAE its ELBO,
# for PCA and FactorAnalysis the log-likelihood. All are nats per held-out row behind
# the same scaler and compare directly. A small network keeps the search short.

import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

X = load_wine().data
models = {
    "PCA": PCA(),
    "FactorAnalysis": FactorAnalysis(),
    "VAETransformer": VAETransformer(
        hidden_layer_sizes=(32,), n_iter_no_change=5, random_state=0
    ),
}
sizes = [1, 3, 6]
searches = {}
for name, model in models.items():
    pipeline = Pipeline([("scale", StandardScaler()), ("vae", model)])
    folds = KFold(n_splits=3, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline, {"vae__n_components": sizes}, cv=folds)
    searches[name] = search.fit(X)
    best = search.best_params_["vae__n_components"]
    print(f"{name:<15} {search.best_score_:7.2f} nats with {best} components")

# %%
# All models see the same folds. More components are not always better: the score is
# that of held-out rows.

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
colours = ("#8a8f98", "#e08e3c", "#1f6fb2")
for (name, search), colour in zip(searches.items(), colours, strict=True):
    ax.plot(
        sizes, search.cv_results_["mean_test_score"], "o-", color=colour, label=name
    )
ax.set(
    title="Wine: held-out log-density",
    xlabel="n_components",
    ylabel="nats per row",
    xticks=sizes,
)
ax.legend(frameon=False)

# %%
# To a file and back
# ------------------
#
# The whole pipeline is saved, and what comes back gives the same numbers to the last
# bit. (Files of joblib run code when they are loaded: open only your own.)

fitted = searches["VAETransformer"].best_estimator_
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "wine.joblib"
    joblib.dump(fitted, path)
    restored = joblib.load(path)
    print(f"{path.stat().st_size / 1024:.0f} kB")

print(np.array_equal(restored.transform(X), fitted.transform(X)))
print(restored.score(X) == fitted.score(X))
plt.show()
