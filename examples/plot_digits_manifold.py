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

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import VAETransformer

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
# Left and middle: digits that were not fitted, coloured by digit; neither model has
# seen the labels. Right: $E[x|z]$ on a grid whose steps hold equal shares of the
# digits, so that crowded parts of the plane are shown in detail. Neighbouring images
# differ little, and nearly every part of the plane shows a digit.

figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
models = {"PCA": pca, "VAE": vae}
accuracy = {}
for ax, (name, model) in zip(axes, models.items(), strict=False):
    neighbors = KNeighborsClassifier(10).fit(model.transform(X_train), y_train)
    z = model.transform(X_test)
    accuracy[name] = neighbors.score(z, y_test)
    points = ax.scatter(*z.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=10)
    ax.set(xlabel="first component", ylabel="second component", aspect="equal")
    ax.set(title=f"{name}: 10 neighbours find {accuracy[name]:.0%} of the digits")
figure.colorbar(points, ax=axes[1], ticks=range(10), label="digit")

n_steps = 16
steps = (np.arange(n_steps) + 0.5) / n_steps
first, second = np.quantile(vae.transform(X_train), steps, axis=0).T
grid = np.stack(np.meshgrid(first, second[::-1]), axis=-1).reshape(-1, 2)
decoded = vae.inverse_transform(grid).reshape(-1, 8, 8)
# a light line between the images
tiles = np.pad(decoded, ((0, 0), (0, 1), (0, 1)), constant_values=2)
sheet = tiles.reshape(n_steps, n_steps, 9, 9).swapaxes(1, 2)
axes[2].imshow(sheet.reshape(n_steps * 9, -1), cmap="gray_r", vmin=0, vmax=16)
axes[2].set(title="VAE: E[x|z] across the plane", xticks=[], yticks=[])
axes[2].set(xlabel="first component", ylabel="second component")
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
figure, axes = plt.subplots(3, 9, figsize=(9, 3.2), layout="constrained")
for row, (name, images) in zip(axes, ways.items(), strict=True):
    row[0].set_ylabel(name)
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
plt.show()
