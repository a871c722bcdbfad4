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
# scikit-learn's digits have 8x8 pixels. Given as a stack `(n, channels, height, width)`
# with `image_shape` set, they are fitted by convolutions. Pixels are made binary here,
# so they have a probability, not a density.

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skvae import VAETransformer
from skvae.latents import Gaussian
from skvae.metrics import bits_per_dimension

digits = load_digits()
X = (digits.images[:, None] > 7).astype(float)
X_train, X_test = X[:1500], X[1500:]

vae = VAETransformer(
    n_components=2,
    image_shape=(1, 8, 8),
    likelihood="bernoulli",
    # the map below is easiest to read if z has a standard normal prior
    latent=Gaussian(prior="standard"),
    max_epochs=20,
    random_state=0,
).fit(X_train)

score = vae.score(X_test)
print(f"ELBO of new digits: {score:.1f} nats, {bits_per_dimension(score, 64):.2f} bits")

# %%
# The map
# -------
#
# Left: the posterior means of the digits, coloured by digit. Right: E[x|z] on a grid
# whose steps have equal probability under p(z). Every part of the plane shows a digit.

n_steps = 14
quantiles = norm.ppf((np.arange(n_steps) + 0.5) / n_steps)
grid = np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1).reshape(-1, 2)
decoded = vae.inverse_transform(grid)  # (196, 1, 8, 8)
# a light line between the images
tiles = np.pad(decoded[:, 0], ((0, 0), (0, 1), (0, 1)), constant_values=0.15)
sheet = tiles.reshape(n_steps, n_steps, 9, 9).swapaxes(1, 2)

figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
z = vae.transform(X)
points = axes[0].scatter(*z.T, c=digits.target, cmap="tab10", vmin=-0.5, vmax=9.5, s=6)
axes[0].set(xlabel="first component", ylabel="second component", aspect="equal")
figure.colorbar(points, ax=axes[0], ticks=range(10), label="digit")
axes[1].imshow(sheet.reshape(n_steps * 9, n_steps * 9), cmap="gray_r", vmin=0, vmax=1)
axes[1].set(title="E[x|z] across the plane", xticks=[], yticks=[])
axes[1].set(xlabel="first component", ylabel="second component")
plt.show()

# %%
# From one digit to another
# -------------------------
#
# A straight line between two points of the plane passes through images that look like
# digits. A straight line between two images merely fades one out and the other in, and
# so does a line between their principal components.

first, last = X_test[digits.target[1500:] == 0][0], X_test[digits.target[1500:] == 6][0]
ends = np.stack([first, last])
share = np.linspace(0, 1, 9)[:, None]


def interpolate(points):
    """Return nine points on the line between two."""
    return (1 - share) * points[0] + share * points[1]


pca = PCA(2).fit(X_train.reshape(len(X_train), -1))
ways = {
    "pixels": interpolate(ends.reshape(2, -1)),
    "PCA": pca.inverse_transform(interpolate(pca.transform(ends.reshape(2, -1)))),
    "VAE": vae.inverse_transform(interpolate(vae.transform(ends))),
}
figure, axes = plt.subplots(3, 9, figsize=(9, 3.2), layout="constrained")
for row, (name, images) in zip(axes, ways.items(), strict=True):
    row[0].set_ylabel(name)
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
plt.show()
