r"""
Digits on a plane
=================

Images of handwritten digits are points in a space of 64 pixels, but cover only a small
part of it. A variational auto-encoder with two components maps this part to a plane:
every point of the plane is an image, and neighbouring points are similar images.
"""

# %%
# The images
# ----------
#
# scikit-learn's digits have 8x8 pixels. Three settings make the best map:
#
# - `density=None` learns the map alone, without a flexible density of every pixel.
# - `standardize=False`: all pixels have the same unit. Otherwise pixels at the edge,
#   which are nearly always white, would count as much as all others.
# - `hidden_layer_sizes=(256, 256, 128)`: a surface that passes through ten digits is
#   strongly curved in the space of pixels, and deeper networks follow it better.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import VAETransformer
from skvae.plots import LatentMapDisplay, LatentTraversalDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)

pca = PCA(n_components=2).fit(X_train)
vae = VAETransformer(
    n_components=2,
    density=None,
    standardize=False,
    hidden_layer_sizes=(256, 256, 128),
    max_epochs=30,
    random_state=0,
).fit(X_train)

# %%
# The map
# -------
#
# Digits that were not fitted, coloured by digit; no model has seen the labels. UMAP
# separates the digits best: it keeps neighbours, and nothing else. It is shown where
# umap-learn is installed, and else t-SNE, which has no map for new rows and is fitted
# to all of them.
#
# The VAE has a way back. Below right is $E[x|z]$ on a grid whose steps hold equal
# shares of the digits, so that crowded parts of the plane are shown in detail.
# Neighbouring images differ little, and nearly every part of the plane shows a digit.


def embed_neighbours():
    """Return the name of a method of neighbours, and its map of both parts of X."""
    try:
        with warnings.catch_warnings():
            # of tensorflow, which it does not need
            warnings.simplefilter("ignore", ImportWarning)
            from umap import UMAP
    except ImportError:
        both = TSNE(random_state=0).fit_transform(np.concatenate([X_train, X_test]))
        return "t-SNE", *np.split(both, [len(X_train)])
    model = UMAP(random_state=0, n_jobs=1).fit(X_train)
    return "UMAP", model.embedding_, model.transform(X_test)


name, *parts = embed_neighbours()
maps = {
    "PCA": [pca.transform(X_train), pca.transform(X_test)],
    name: parts,
    "VAE": [vae.transform(X_train), vae.transform(X_test)],
}
figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
accuracy = {}
for ax, (name, (train, test)) in zip(axes.flat, maps.items(), strict=False):
    neighbors = KNeighborsClassifier(10).fit(train, y_train)
    accuracy[name] = neighbors.score(test, y_test)
    title = f"{name}: accuracy of 10 nearest neighbours {accuracy[name]:.0%}"
    LatentMapDisplay.from_embedding(test, y_test, ax=ax, name=title)

steps = (np.arange(16) + 0.5) / 16
first, second = np.quantile(vae.transform(X_train), steps, axis=0).T
grid = np.stack(np.meshgrid(first, second[::-1]), axis=-1)
sheet = LatentTraversalDisplay.from_points(
    vae,
    grid,
    image_shape=(8, 8),
    ax=axes[1, 1],
    name="VAE: points of its map, decoded",
    cmap="gray_r",
)
sheet.ax_.set(xlabel="component 0", ylabel="component 1")
plt.show()

print("accuracy of 10 neighbours:", {k: round(v, 2) for k, v in accuracy.items()})

# %%
# From one digit to another
# -------------------------
#
# A straight line between two points of the plane passes through images that look like
# digits. A straight line between two images merely fades one out and the other in, and
# so does a line between their principal components.

ends = np.stack([X_test[y_test == 0][0], X_test[y_test == 6][0]])
share = np.linspace(0, 1, 9)[:, None]


def interpolate(points):
    """Return nine points on the line between two."""
    return (1 - share) * points[0] + share * points[1]


ways = {
    "pixels": interpolate(ends),
    "PCA": pca.inverse_transform(interpolate(pca.transform(ends))),
    "VAE": vae.inverse_transform(interpolate(vae.transform(ends))),
}
LatentTraversalDisplay.from_decoded(
    list(ways.values()), line_names=ways, image_shape=(8, 8), cmap="gray_r"
)
plt.show()
