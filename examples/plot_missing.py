r"""
Single and multiple imputation of missing values
================================================

A third of the cells of a real table is deleted and imputed: by the mean of the column,
by nearest neighbours, by regressions and by the VAE. Multiple imputation with the VAE
then shows how far an estimate from the imputed tables can be trusted.
"""

# %%
# Single imputation
# -----------------
#
# Ten columns of breast_cancer (the means), standardised. The error is the mean squared
# error over the deleted cells; imputation by the column mean has an error of about 1.
# With ``max_epochs=0`` and no hidden layers the VAE is factor analysis by EM, without
# any training.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

whole = StandardScaler().fit_transform(load_breast_cancer().data[:, :10])
gone = np.random.default_rng(0).random(whole.shape) < 1 / 3
X = np.where(gone, np.nan, whole)

linear = {"hidden_layer_sizes": (), "max_epochs": 0}
# columns that are independent given z: faster where many cells are missing
vae = VAETransformer(n_components=6, density="joint", max_epochs=20, random_state=0)
models = {
    "mean": SimpleImputer(),
    "KNNImputer": KNNImputer(),
    "IterativeImputer": IterativeImputer(max_iter=20),
    "VAE, factor analysis": VAETransformer(n_components=6, random_state=0, **linear),
    "VAE": vae,
}
# IterativeImputer does not converge, because some columns nearly repeat others
warnings.simplefilter("ignore", ConvergenceWarning)
errors = {}
for name, model in models.items():
    model.fit(X)
    fill = model.impute if isinstance(model, VAETransformer) else model.transform
    errors[name] = ((fill(X) - whole)[gone] ** 2).mean()
    print(f"{name:<21} error {errors[name]:.3f}")

# %%
# Multiple imputation
# -------------------
#
# `impute` with a `random_state` draws the missing cells from their distribution given
# the rest of the row. The deleted cells should lie within the 5 % and 95 % quantiles of
# their draws nine times out of ten. The draws reflect the uncertainty about a row given
# the model, but not that the model itself was estimated from 569 incomplete rows.
# Intervals are therefore somewhat too narrow, more so with networks than with factor
# analysis and its few parameters.

bounds = {}
for name in ("VAE, factor analysis", "VAE"):
    draws = np.array(
        [models[name].impute(X, n_draws=50, random_state=seed) for seed in range(30)]
    )
    low, high = bounds[name] = np.quantile(draws, [0.05, 0.95], axis=0)
    is_inside = ((whole >= low) & (whole <= high))[gone]
    print(f"{name:<21} nominal 90 % intervals hold {is_inside.mean():.0%}")

# %%
# Rubin's rules
# -------------
#
# Now cells are missing for a reason: the larger the mean radius, the more often the
# concavity is not recorded. The mean of the observed values is therefore too low. Each
# imputed table gives an estimate and its variance. Pooled, they give an interval that
# accounts for the missing values.

radius, concavity = 0, 6
is_lost = 1 / (1 + np.exp(-2 * whole[:, radius]))
some = whole.copy()
some[np.random.default_rng(1).random(len(whole)) < is_lost, concavity] = np.nan
vae = VAETransformer(n_components=6, density="joint", max_epochs=20, random_state=0)
vae.fit(some)
tables = [vae.impute(some, random_state=seed)[:, concavity] for seed in range(10)]


def pool(estimates, variances):
    """Return the estimate and the margin of a 90 % interval from filled tables."""
    m, within = len(estimates), np.mean(variances)
    between = (1 + 1 / m) * np.var(estimates, ddof=1)
    freedom = (m - 1) * (1 + within / between) ** 2
    return np.mean(estimates), t.ppf(0.95, freedom) * np.sqrt(within + between)


def estimate(values):
    """Return the mean and the margin of its 90 % interval."""
    return values.mean(), t.ppf(0.95, len(values) - 1) * values.std() / np.sqrt(
        len(values)
    )


seen = some[~np.isnan(some[:, concavity]), concavity]
pooled = pool(
    [table.mean() for table in tables], [table.var() / len(table) for table in tables]
)
means = {
    "rows that have it": estimate(seen),
    "multiple imputation": pooled,
    "nothing deleted": estimate(whole[:, concavity]),
}
for name, (mean, margin) in means.items():
    print(f"{name:<20} {mean:6.3f} ± {margin:.3f}")

# %%
# Left: the errors of single imputation. Middle: intervals of forty deleted cells,
# sorted by their centre, with the true values. Right: estimates of the mean concavity
# when its values are missing for a reason.

figure, axes = plt.subplots(
    1, 3, figsize=(13, 3.8), layout="constrained", width_ratios=[1.1, 1.3, 1]
)
colours = ["#c9ccd1", "#8a8f98", "#e08e3c", "#7fb2d9", "#1f6fb2"]
bars = axes[0].barh(list(errors), list(errors.values()), color=colours)
axes[0].bar_label(bars, fmt="%.2f", padding=3)
axes[0].invert_yaxis()
axes[0].set(title="error of filled cells", xlim=(0, 1.25), xlabel="mean squared error")

picked = np.random.default_rng(2).choice(np.flatnonzero(gone), 40, replace=False)
low, high = (bound.ravel()[picked] for bound in bounds["VAE"])
order = (low + high).argsort()
axes[1].vlines(
    range(40), low[order], high[order], color="#7fb2d9", lw=4, label="90 % of the draws"
)
truth = whole.ravel()[picked][order]
axes[1].plot(truth, "o", ms=3.5, color="#17191d", label="deleted value")
axes[1].set(title="forty deleted cells", xlabel="cell", ylabel="standard deviations")
axes[1].legend(frameon=False, loc="upper left")

for row, (mean, margin) in enumerate(means.values()):
    colour = ["#e08e3c", "#1f6fb2", "#17191d"][row]
    axes[2].errorbar(mean, row, xerr=margin, fmt="o", capsize=4, color=colour)
axes[2].set(
    title="mean of one column, concavity",
    yticks=range(3),
    yticklabels=means,
    ylim=(2.5, -0.5),
)
axes[2].set_xlabel("90 % interval, standard deviations")
plt.show()
