r"""
A curve that does not lie in a plane
====================================

PCA and a variational auto-encoder are fitted to a spiral in three dimensions, with two
components each. We compare their reconstructions and the new rows that they generate.
"""

# %%
# The data
# --------
#
# Points lie on a spiral that also rises, with noise of standard deviation 0.05 in every
# column.

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
# Both scores are log-densities of held-out rows in nats per row. The score of the VAE
# is a lower bound. The importance-weighted estimate shows how far it is below the
# log-density of the model.

print(f"PCA            {pca.score(X_test):6.2f}")
print(f"VAE, ELBO      {vae.score(X_test):6.2f}")
evidence = vae.score_samples(X_test, method="evidence").mean()
print(f"VAE, evidence  {evidence:6.2f}")

# %%
# Reconstruction
# --------------
#
# The linear map loses a direction in which the spiral extends. The error of the
# non-linear map is close to the noise.

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
# PCA is a Gaussian density, so its samples fill a flat ellipsoid. Samples of the VAE
# lie along the curve.

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
            # in place of the tick labels
            getattr(ax, f"set_{axis}label")(f"column {number}", labelpad=-12)
        ax.legend(loc="upper right", frameon=False, markerscale=2)
        ax.view_init(elev=35, azim=-60)
plt.show()
