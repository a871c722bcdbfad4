r"""
Classes found by a discrete latent
==================================

With a categorical latent the variational auto-encoder is a mixture model: every
category has its own distribution, and one network decodes all of them. Training does
not use the class labels. Does the model find the classes?
"""

# %%
# The data
# --------
#
# Digits of 8 by 8 binary pixels. There are fourteen categories for ten classes, since a
# digit may be written in more than one way.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score

from skvae import VAETransformer
from skvae.latents import Categorical
from skvae.plots import LatentTraversalDisplay

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
# `transform` returns the probability of every category. Each row of the printed table
# counts the held-out digits of one class by their most likely category. The last line
# is the accuracy of a classifier that assigns to each category the most frequent class
# of its training rows.

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
# The mean image of each category
# -------------------------------
#
# `inverse_transform` of a one-hot vector is the mean image of that category.

figure, ax = plt.subplots(figsize=(8, 3.1), layout="constrained")
_ = LatentTraversalDisplay.from_points(
    vae,
    np.eye(14),
    step_names=[f"{k}: a {name}" for k, name in enumerate(names)],
    image_shape=(8, 8),
    ax=ax,
    name="Mean image of each category, and the digit of most of its images",
)

# %%
# Combining variables
# -------------------
#
# Fourteen categories represent fourteen images. Three variables with four categories
# each have 64 joint values, with twelve columns. Scores are sums over all values, so
# the evidence is the exact log-probability, in nats per held-out row. The ELBO is
# lower, because the posterior treats the three variables as independent.

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
