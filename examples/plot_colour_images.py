r"""
Images in colour
================

The colour of a digit and its shape have nothing to do with one another, and a pixel is
the product of both. No plane holds such images: PCA needs a component for every shape
in every colour. A variational auto-encoder describes them by few numbers, and draws new
ones.
"""

# %%
# The images
# ----------
#
# scikit-learn's digits, each in a bright colour on a dark background of another colour.
# Channels come first, `(n_samples, channels, height, width)`, as in torch.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import hsv_to_rgb
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skvae import VAETransformer
from skvae.plots import LatentTraversalDisplay

SHAPE = (3, 8, 8)
rng = np.random.default_rng(0)
ink = load_digits().images[:, None] / 16
hue = rng.random(len(ink))
other_hue = (hue + rng.uniform(0.35, 0.65, len(ink))) % 1


def make_colours(hue, saturation, value):
    """Return a colour for every image, ``(n, 3, 1, 1)``."""
    hsv = np.stack(np.broadcast_arrays(hue, saturation, value), axis=-1)
    return hsv_to_rgb(hsv)[:, :, None, None]


bright, dark = make_colours(hue, 0.9, 0.95), make_colours(other_hue, 0.5, 0.35)
X = (ink * bright + (1 - ink) * dark).astype(np.float32)
X_train, X_test = train_test_split(X, test_size=300, random_state=0)

# %%
# Twelve numbers for an image
# ---------------------------
#
# `image_shape` gives the shape; methods take and return images. Images this small need
# no convolutions, which `network="auto"` would choose: dense layers are faster here.
# `standardize=False` keeps the unit that all pixels share.

vae = VAETransformer(
    n_components=12,
    density="joint",
    likelihood="gaussian",
    image_shape=SHAPE,
    network="mlp",
    hidden_layer_sizes=(256, 256),
    standardize=False,
    max_epochs=40,
    random_state=0,
).fit(X_train)

rows, rows_test = X_train.reshape(len(X_train), -1), X_test.reshape(len(X_test), -1)
pca = PCA(n_components=12).fit(rows)
rebuilt = {
    "PCA": pca.inverse_transform(pca.transform(rows_test)),
    "VAE": vae.reconstruct(X_test).reshape(rows_test.shape),
}
explained = {
    name: r2_score(rows_test, found, multioutput="variance_weighted")
    for name, found in rebuilt.items()
}
for name, share in explained.items():
    print(f"{name}: {share:.0%} of the variance of new images")

# %%
# New images
# ----------
#
# `sample(mean=True)` draws $z$ and returns $E[x|z]$, without the noise of pixels. PCA
# has a distribution of its components, too, a normal one; but what it draws are blends
# of shapes and colours.

z = rng.normal(size=(12, 12)) * np.sqrt(pca.explained_variance_)
drawn = {
    "PCA": pca.inverse_transform(z).clip(0, 1),
    "VAE": vae.sample(12, mean=True, random_state=0).reshape(12, -1),
}

figure, axes = plt.subplots(
    2, 1, figsize=(9, 4.6), layout="constrained", height_ratios=(3, 2)
)
LatentTraversalDisplay.from_decoded(
    [rows_test[:12], *(found[:12] for found in rebuilt.values())],
    line_names=["image", *(f"{k}, {v:.0%}" for k, v in explained.items())],
    image_shape=SHAPE,
    ax=axes[0],
    name="New images from 12 components, and the variance explained",
)
LatentTraversalDisplay.from_decoded(
    list(drawn.values()),
    line_names=drawn,
    image_shape=SHAPE,
    ax=axes[1],
    name="Drawn images",
)
plt.show()
