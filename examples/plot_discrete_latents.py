r"""
Discrete latents that find the classes
======================================

A categorical latent makes the variational auto-encoder a mixture model: every category
is a law of its own, all decoded by one network. Nobody tells it the classes of the
rows. Does it find them?
"""

# %%
# The rows
# --------
#
# Digits of 8 by 8 pixels, black and white, and fourteen categories for ten classes: a
# digit may be written in more than one way.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score

from skvae import VAETransformer
from skvae.latents import Categorical

digits = load_digits()
X, y = (digits.data > 7).astype(float), digits.target
order = np.random.default_rng(0).permutation(len(X))
train, test = order[:1300], order[1300:]

vae = VAETransformer(
    14,
    latent="categorical",
    likelihood="bernoulli",
    hidden_layer_sizes=(32,),
    max_epochs=15,
    random_state=0,
).fit(X[train])

# %%
# Agreement with the labels
# -------------------------
#
# `transform` gives the probability of every category. A row of the table counts the
# held-out digits of a class, by their likeliest category. The last lines say how good a
# classifier the categories would make if each were given the class of most of its
# training rows.

found = vae.transform(X[test]).argmax(axis=1)
counts = np.zeros((10, 14), dtype=int)
np.add.at(counts, (y[test], found), 1)
print("      " + "".join(f"{k:5d}" for k in range(14)))
for digit, row in enumerate(counts):
    print(f"  {digit}   " + "".join(f"{n:5d}" if n else "    ." for n in row))

category = vae.transform(X[train]).argmax(axis=1)
names = [np.bincount(y[train][category == k], minlength=10).argmax() for k in range(14)]
accuracy = (np.take(names, found) == y[test]).mean()
print(f"\nadjusted mutual information {adjusted_mutual_info_score(y[test], found):.2f}")
print(f"share of the right class    {accuracy:.2f}")

# %%
# What the categories look like
# -----------------------------
#
# `inverse_transform` of a single one is the mean image of a category.

images = vae.inverse_transform(np.eye(14)).reshape(-1, 8, 8)
figure, axes = plt.subplots(2, 7, figsize=(8, 2.8), layout="constrained")
for k, ax in enumerate(axes.flat):
    ax.imshow(images[k], cmap="Greys", vmin=0, vmax=1)
    ax.set_title(f"{k}: a {names[k]}", fontsize=9)
    ax.set(xticks=[], yticks=[])

# %%
# Variables that combine
# ----------------------
#
# Fourteen categories know fourteen images. Three variables of four categories have 64
# joint values, for twelve columns. Scores are sums over all values, so the evidence is
# the log-probability itself, in nats per held-out row; the ELBO is below it because the
# posteriors of the three are independent.

combined = VAETransformer(
    12,
    latent=Categorical(n_categories=4),
    likelihood="bernoulli",
    hidden_layer_sizes=(32,),
    max_epochs=20,
    lr=0.01,
    random_state=0,
).fit(X[train])
for name, model in {"14 categories": vae, "4 x 4 x 4": combined}.items():
    evidence = model.score_samples(X[test], method="evidence").mean()
    print(f"{name:13s}  ELBO {model.score(X[test]):7.2f}  log p(x) {evidence:7.2f}")
plt.show()
