r"""
A likelihood for counts
=======================

Three tables of counts with a known truth: Poisson counts, overdispersed counts, and
counts with extra zeros. Held-out scores identify the right likelihood for each. They
are log-probabilities in nats per row and can be compared across likelihoods.
"""

# %%
# The tables
# ----------
#
# In all tables, two components determine the rates of eight columns. The tables differ
# in the distribution of the counts given their rates.

import matplotlib.pyplot as plt
import numpy as np

from skvae import VAETransformer
from skvae.datasets import make_counts

kinds = ["poisson", "negative_binomial", "zero_inflated"]
tables = {}
for kind in kinds:
    X, rate = make_counts(800, 8, kind=kind, random_state=0)
    tables[kind] = X[:400], X[400:], rate[400:]
    share = (X == 0).mean()
    print(f"{kind:18s} mean {X.mean():5.2f}, largest {X.max():3d}, zeros {share:.0%}")

# %%
# Held-out scores
# ---------------
#
# Every likelihood is fitted to every table. The Poisson likelihood is heavily penalised
# for counts that vary more than it allows. The two others contain it as a limit, and
# lose little where it is true.

scores = np.zeros((3, 3))
models = {}
for i, kind in enumerate(kinds):
    X, X_test, _ = tables[kind]
    for j, likelihood in enumerate(kinds):
        vae = VAETransformer(
            n_components=2,
            likelihood=likelihood,
            hidden_layer_sizes=(32,),
            max_epochs=15,
            random_state=0,
        ).fit(X)
        scores[i, j] = vae.score(X_test)
        models[kind, likelihood] = vae

print(f"{'rows are':18s} " + " ".join(f"{name:>18s}" for name in kinds))
for kind, row in zip(kinds, scores, strict=True):
    print(f"{kind:18s} " + " ".join(f"{score:18.2f}" for score in row))

# %%
# Rates behind the counts
# -----------------------
#
# With the right likelihood, the reconstructed means are close to the true rates, which
# no model has seen. Extra zeros lower the mean.

figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
shown = scores - scores.max(axis=1, keepdims=True)
axes[0].imshow(shown, cmap="Blues", vmin=-4, vmax=0)
for i, j in np.ndindex(3, 3):
    colour = "white" if shown[i, j] > -1.5 else "black"
    axes[0].text(j, i, f"{scores[i, j]:.1f}", ha="center", va="center", color=colour)
labels = ["Poisson", "neg. bin.", "zero-infl."]
axes[0].set(
    xticks=range(3),
    xticklabels=labels,
    yticks=range(3),
    yticklabels=labels,
    xlabel="likelihood",
    ylabel="rows",
    title="score, nats per row",
)
names = {"xlabel": "true rate", "ylabel": "reconstructed mean"}
for ax, kind, name in zip(axes[1:], kinds, labels, strict=True):
    _, X_test, rate = tables[kind]
    mean = models[kind, kind].reconstruct(X_test)
    ax.loglog(rate.ravel(), mean.ravel(), ".", markersize=2, color="#1f6fb2")
    ax.axline((1, 1), (10, 10), color="0.5", linewidth=1)
    ax.set(title=f"{name} rows and likelihood", **names)
plt.show()
