r"""
A curve that no plane holds
===========================

A spiral in three dimensions, once as PCA sees it and once as a variational auto-encoder
does, with two components each: what comes back from the components, and what the models
draw when asked for new rows.
"""

# %%
# The rows
# --------
#
# Points lie around a spiral that also climbs, with noise of standard deviation 0.05 in
# every column.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from skvae import VAETransformer
from skvae.datasets import make_spiral

X, _ = make_spiral(n_samples=500, random_state=0)
X_test, _ = make_spiral(n_samples=500, random_state=1)

pca = PCA(n_components=2).fit(X)
vae = VAETransformer(n_components=2, random_state=0).fit(X)

# %%
# Density
# -------
#
# Both scores are log-densities of held-out rows in nats per row. That of the VAE is a
# lower bound; the importance-weighted estimate shows how far below the model's
# log-density it lies.

print(f"PCA            {pca.score(X_test):6.2f}")
print(f"VAE, ELBO      {vae.score(X_test):6.2f}")
evidence = vae.score_samples(X_test, method="evidence").mean()
print(f"VAE, evidence  {evidence:6.2f}")

# %%
# Reconstruction
# --------------
#
# The linear map leaves out a direction in which the spiral extends. The non-linear one
# comes as close as the noise.

rebuilt = {
    "PCA": pca.inverse_transform(pca.transform(X_test)),
    "VAE": vae.reconstruct(X_test),
}
for name, rows in rebuilt.items():
    error = np.sqrt(((rows - X_test) ** 2).mean())
    print(f"{name}: root mean squared error {error:.3f}")

# %%
# New rows
# --------
#
# PCA is a Gaussian density and draws from a flat ellipsoid. Rows that the VAE draws lie
# along the curve.

random = np.random.default_rng(0)
drawn = {
    "PCA": random.multivariate_normal(pca.mean_, pca.get_covariance(), 500),
    "VAE": vae.sample(500, random_state=0),
}

figure, axes = plt.subplots(
    2, 2, figsize=(8, 7.4), layout="constrained", subplot_kw={"projection": "3d"}
)
colours = {"PCA": "#e08e3c", "VAE": "#1f6fb2"}
for row, (what, tables) in zip(
    axes, {"reconstructed": rebuilt, "sampled": drawn}.items(), strict=True
):
    for ax, (name, rows) in zip(row, tables.items(), strict=True):
        ax.scatter(*X_test.T, s=3, color="0.75", depthshade=False, label="held out")
        ax.scatter(*rows.T, s=6, color=colours[name], depthshade=False, label=what)
        ax.set_title(f"{name}, {what}")
        ax.set(xlim=(-1, 1.2), ylim=(-1, 1), zlim=(-0.2, 1.2))
        ax.set(xticklabels=[], yticklabels=[], zticklabels=[])
        for number, axis in enumerate("xyz"):
            # where the numbers of the ticks would be
            getattr(ax, f"set_{axis}label")(f"column {number}", labelpad=-12)
        ax.legend(loc="upper right", frameon=False, markerscale=2)
        ax.view_init(elev=35, azim=-60)
plt.show()
