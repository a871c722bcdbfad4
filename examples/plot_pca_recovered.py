r"""
The linear model is PCA and factor analysis
===========================================

A variational auto-encoder with a linear encoder and decoder is a familiar model. With
one noise variance per column it is factor analysis; with one for all columns it is
probabilistic PCA. Both have other implementations, so in this case every number of the
package can be compared with that of another program.
"""

# %%
# Factor analysis
# ---------------
#
# Rows from a model with a known covariance; half of them are held out. A tight
# tolerance brings scikit-learn's EM algorithm close to the exact solution.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis

from skvae import VAETransformer
from skvae.datasets import make_factors
from skvae.likelihoods import Gaussian

X, covariance = make_factors(n_samples=1000, n_components=3, random_state=0)
X_train, X_test = X[:500], X[500:]

fa = FactorAnalysis(3, tol=1e-8, max_iter=10_000).fit(X_train)
vae = VAETransformer(3, hidden_layer_sizes=(), random_state=0).fit(X_train)

print("held-out nats per row")
print(f"  FactorAnalysis     {fa.score(X_test):.4f}")
print(f"  VAETransformer     {vae.score(X_test):.4f}")

# %%
# The score of a VAE is a lower bound. Here the bound is tight, since the posterior of a
# linear Gaussian model is Gaussian and the encoder can represent it. Importance
# weighting therefore does not improve it.

gap = vae.score_samples(X_test, method="evidence") - vae.score_samples(X_test)
print(f"evidence − ELBO, largest of all rows: {gap.max():.1e}")

# %%
# Probabilistic PCA
# -----------------
#
# `Gaussian(noise="shared")` has a single noise variance. scikit-learn divides variances
# by n − 1, maximum likelihood by n. Dividing the rows by sqrt(n / (n − 1)) first makes
# PCA the maximum-likelihood model. Columns are not standardised, so that "one variance
# for all columns" means the same in both models.

n_train = len(X_train)
centre = X_train.mean(axis=0)
correction = np.sqrt(n_train / (n_train - 1))
pca = PCA(3).fit((X_train - centre) / correction)
shared = VAETransformer(
    3,
    likelihood=Gaussian(noise="shared"),
    hidden_layer_sizes=(),
    standardize=False,
    random_state=0,
).fit(X_train)

print(f"  PCA                {pca.score(X_test - centre):.4f}")
print(f"  VAETransformer     {shared.score(X_test):.4f}")

# %%
# Row by row
# ----------
#
# Not only the averages agree. The left and middle plots have one point for every
# held-out row. The right plot has one point for every pair of columns: its covariance
# in sampled rows against its covariance under factor analysis.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
sampled = np.cov(vae.sample(50_000, random_state=0).T)
pairs = {
    "log-density, nats: factor analysis": (
        fa.score_samples(X_test),
        vae.score_samples(X_test),
    ),
    "log-density, nats: PCA": (
        pca.score_samples(X_test - centre),
        shared.score_samples(X_test),
    ),
    "covariance: factor analysis": (fa.get_covariance().ravel(), sampled.ravel()),
}
for ax, (title, (expected, found)) in zip(axes, pairs.items(), strict=True):
    ends = [expected.min(), expected.max()]
    ax.plot(ends, ends, color="0.75", lw=1, zorder=0)
    ax.scatter(expected, found, s=10, color="#1f6fb2", alpha=0.6, lw=0)
    ax.set(title=title, xlabel="scikit-learn", ylabel="skvae")
    ax.locator_params(nbins=5)
plt.show()
