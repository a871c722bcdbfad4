r"""
Pipeline, grid search and saving
================================

`VAETransformer` is a regular scikit-learn estimator. Its score is a log-density, so a
grid search can choose the number of components, and a pipeline that contains it can be
saved with joblib.
"""

# %%
# How many components?
# --------------------
#
# Without a `scoring` argument, `GridSearchCV` maximises `score`: the ELBO for the VAE,
# the log-likelihood for PCA and FactorAnalysis. All are in nats per held-out row after
# the same scaler, so they compare directly. A small network keeps the search short.

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
# All models use the same folds, and some folds are harder than others for all of them.
# The picture therefore shows differences in the same fold, from PCA at its best, with
# their standard errors over the folds. More components are not always better, because
# the score is computed on held-out rows.


def get_scores(search):
    """Return the score of each size in each fold, (n_sizes, n_folds)."""
    columns = [f"split{fold}_test_score" for fold in range(folds.n_splits)]
    return np.transpose([search.cv_results_[column] for column in columns])


base = get_scores(searches["PCA"])[searches["PCA"].best_index_]
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
colours = ("#8a8f98", "#e08e3c", "#1f6fb2")
for (name, search), colour in zip(searches.items(), colours, strict=True):
    gains = get_scores(search) - base
    errors = gains.std(axis=1, ddof=1) / np.sqrt(folds.n_splits)
    style = {"fmt": "o-", "capsize": 4, "color": colour, "label": name}
    ax.errorbar(sizes, gains.mean(axis=1), errors, **style)
ax.axhline(0, color="#17191d", lw=0.8, ls=":")
ax.set(
    title="Wine: held-out log-density",
    xlabel="n_components",
    ylabel="nats per row above the best PCA",
    xticks=sizes,
)
ax.legend(frameon=False)

# %%
# Saving and loading
# ------------------
#
# The whole pipeline is saved, and the restored one returns exactly the same numbers.
# (Loading a joblib file can run arbitrary code: open only your own files.)

fitted = searches["VAETransformer"].best_estimator_
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "wine.joblib"
    joblib.dump(fitted, path)
    restored = joblib.load(path)
    print(f"{path.stat().st_size / 1024:.0f} kB")

print(np.array_equal(restored.transform(X), fitted.transform(X)))
print(restored.score(X) == fitted.score(X))
plt.show()
