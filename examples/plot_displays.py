r"""
Pictures of a fitted model
==========================

Did training go well? How many components does the table need, and what do they mean?
What is lost, and which rows are odd? Every question has a Display class in
`skvae.plots`, in the manner of scikit-learn: `from_estimator` draws, and returns the
axes and the numbers behind the picture.
"""

# %%
# The model
# ---------
#
# Customers with columns of several kinds, some cells missing. They were made of two
# factors and a region; the model has four components.

import matplotlib.pyplot as plt

from skvae import VAEOutlierDetector, VAETransformer
from skvae.datasets import make_mixed
from skvae.plots import (
    ComponentsDisplay,
    FeatureScoresDisplay,
    LatentMapDisplay,
    LatentTraversalDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    ScoreHistogramDisplay,
    TrainingCurveDisplay,
)

X = make_mixed(n_samples=600, missing=0.1, random_state=0)
vae = VAETransformer(n_components=4, max_epochs=25, random_state=0).fit(X)

# %%
# Training
# --------
#
# Scores are in nats per row; higher is better. First the map is learned, then the
# density of the columns given the map. The held-out score has two parts: what the
# reconstruction is worth, minus the cost of the KL, which is the shaded area. Training
# went well if the score of held-out rows has levelled off and is not far below that of
# the training rows. On the right, each bar is the information that a component carries
# about a row.

figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
TrainingCurveDisplay.from_estimator(vae, ax=axes[0], name="Training")
_ = ComponentsDisplay.from_estimator(vae, ax=axes[1], name="Components")

# %%
# The map
# -------
#
# Every point is a customer, in the plane of the two components that carry most. The
# ellipses are posteriors: one standard deviation of what the model knows about the
# place of a row.

figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
LatentMapDisplay.from_estimator(vae, X, X["income"], ax=axes[0], name="Customers")
_ = LatentMapDisplay.from_estimator(vae, X, X["region"], ax=axes[1], name="Customers")

# %%
# What the components mean
# ------------------------
#
# A row from the middle of the table moves along one component at a time. Colours show
# by how many standard deviations a column changes; numbers are its values at both ends.

_ = LatentTraversalDisplay.from_estimator(vae, X, name="Components, one at a time")

# %%
# What is lost
# ------------
#
# Values against their reconstruction from four numbers. Points on the diagonal and full
# squares on the diagonal of a matrix are kept exactly. Missing cells are left out.

display = ReconstructionDisplay.from_estimator(vae, X, name="Reconstruction")

# %%
# The numbers behind a picture are attributes of the display:

for number, kept in zip(display.order_, display.kept_, strict=True):
    print(f"{X.columns[number]:<10} {kept:.2f}")

# %%
# New rows
# --------
#
# Rows drawn from the model have the distribution of the real ones.

_ = SamplesDisplay.from_estimator(vae, X, name="Drawn rows")

# %%
# Outliers
# --------
#
# A detector fitted to the same table. One in twenty rows is below its threshold. For
# the row with the lowest score, the bars show which cells are to blame.

detector = VAEOutlierDetector(contamination=0.05, max_epochs=25, random_state=0).fit(X)
worst = [int(detector.score_samples(X).argmin())]
figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
ScoreHistogramDisplay.from_estimator(detector, X, ax=axes[0], name="Scores")
FeatureScoresDisplay.from_estimator(detector, X.iloc[worst], ax=axes[1])
axes[1].set_title("The lowest score, explained")
plt.show()
