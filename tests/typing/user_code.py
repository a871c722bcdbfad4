"""What users write, for checkers of types alone: nothing runs it.

``mypy`` and ``pyright`` check it in CI. A type that a user relies on is asserted; what
the documentation shows must be accepted.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import onnx
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from typing_extensions import assert_type

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae.callbacks import FreshBinarization
from skvae.datasets import make_clusters, make_factors, make_mixed
from skvae.export import register_skl2onnx, to_onnx, to_torch
from skvae.latents import Gaussian as GaussianLatent
from skvae.likelihoods import (
    Categorical,
    Gaussian,
    GaussianMixture,
    Likelihood,
    StudentT,
    ZeroInflated,
)
from skvae.metrics import (
    bits_per_dimension,
    column_shape_errors,
    distance_to_closest_record,
    train_on_synthetic_scores,
    two_sample_auc,
)
from skvae.networks import Conv, Network
from skvae.objectives import IWAE, TC
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

Floats = NDArray[np.float64]
X, covariance = make_factors(n_samples=100, n_features=4, random_state=0)
frame = pd.DataFrame(X, columns=list("abcd"))

# parameters ---------------------------------------------------------------------------

VAETransformer()
VAETransformer(2)
VAETransformer("auto", density=None, likelihood="poisson")
VAETransformer(
    n_components=3,
    density="joint",
    likelihood={"visits": "poisson", "sex": Categorical(), 3: Gaussian(noise="full")},
    latent=GaussianLatent(covariance="full", prior="vamp"),
    network=Conv(channels=(8, 16)),
    hidden_layer_sizes=[64, 64],
    image_shape=(1, 28, 28),
    objective=IWAE(n_draws=10),
    batch_size=256,
    lr=1e-3,
    optimizer=torch.optim.NAdam,
    weight_decay=0.0,
    n_draws=16,
    random_state=np.random.RandomState(0),
    net_callbacks=[FreshBinarization(X)],
    net_params={"optimizer__betas": (0.9, 0.99)},
    verbose=True,
)
VAETransformer(likelihood=GaussianMixture(n_mixture=5, variance_floor="auto"))
VAETransformer(likelihood=ZeroInflated("negative_binomial"), objective=TC(beta_tc=4))
VAETransformer(hidden_layer_sizes=())
VAEOutlierDetector(contamination=0.05, score_method="regret", trim=None)
VAEOutlierDetector("auto", likelihood=StudentT(df=3.0))

VAETransformer(n_components="many")  # type: ignore[arg-type]
VAETransformer(density="later")  # type: ignore[arg-type]
VAETransformer(likelihood=3)  # type: ignore[arg-type]
VAETransformer(n_component=3)  # type: ignore[call-arg]
VAETransformer(2, "joint")  # type: ignore[call-arg]

# arrays -------------------------------------------------------------------------------

vae = VAETransformer(2, random_state=0).fit(X)
assert_type(vae, VAETransformer)
assert_type(vae.fit(X, sample_weight=np.ones(100), X_val=X[:10]), VAETransformer)
assert_type(vae.partial_fit(X).set_params(lr=0.1), VAETransformer)
assert_type(vae.transform(X), NDArray[np.float32])
mean, std = vae.posterior(X, refine=True)
assert_type(mean, NDArray[np.float32])
assert_type(vae.reconstruct(X), NDArray[Any])
assert_type(vae.impute(X, n_draws=10, random_state=1), NDArray[Any])
assert_type(vae.score_features(X), Floats)
assert_type(vae.score_samples(X), Floats)
assert_type(vae.score_samples(X, "evidence", n_draws=100), Floats)
scores, error = vae.score_samples(X, return_std=True)
assert_type(error, Floats)
assert_type(vae.score(X), float)
assert_type(vae.n_components_, int)
assert_type(vae.summary().to_dict(), dict[str, Any])
assert_type(vae.loss_curve_, list[float])
assert_type(vae.kl_per_component_, Floats)
vae.sample(5, given={0: 1.0}).shape  # noqa: B018
vae.inverse_transform(vae.transform(X))[:, 0]
vae.net_.history[-1]["valid_loss"]
vae.columns_.to_frame()
vae.fit([[1.0, None], [2.0, 3.0]])
vae.fit([["a", 1], ["b", 2]])

# data frames --------------------------------------------------------------------------

vae.fit(frame).score(frame)
vae.reconstruct(frame)["a"].mean()
vae.impute(frame).to_csv()
vae.score_features(frame).loc[0, "a"]
vae.sample(3, given={"a": 0.5}, bounded=False)["b"]
vae.set_output(transform="pandas").fit(frame).transform(frame)["vaetransformer0"]
vae.fit_transform(frame)
mixed = make_mixed(50, missing=0.1, random_state=0)
vae.fit(mixed).sample(5)["region"].value_counts()

# detector -----------------------------------------------------------------------------

detector = VAEOutlierDetector(random_state=0).fit(X)
assert_type(detector, VAEOutlierDetector)
assert_type(detector.predict(X), NDArray[np.int_])
assert_type(detector.decision_function(X), Floats)
assert_type(detector.p_values(X, X_calibration=X), Floats)
assert_type(detector.explain(X), Floats)
assert_type(detector.score_samples(X, "regret"), Floats)
assert_type(detector.offset_, float)

# files --------------------------------------------------------------------------------

assert_type(skvae.save(vae, "customers.skvae"), None)
skvae.save(detector, Path("customers.skvae"))
skvae.save(vae, io.BytesIO())
assert_type(skvae.load("customers.skvae"), VAETransformer)
skvae.load(io.BytesIO(b""), trusted=["my_package.MyLikelihood", Gaussian])
skvae.load(Path("customers.skvae"), trusted={Gaussian})
skvae.save(X, "customers.skvae")  # type: ignore[arg-type]
skvae.load(3)  # type: ignore[arg-type]

assert_type(to_onnx(vae, "customers.onnx"), onnx.ModelProto)
to_onnx(detector, io.BytesIO(), "predict", missing=False).SerializeToString()
assert_type(to_torch(vae, "reconstruct"), torch.export.ExportedProgram)
to_torch(vae).module()
assert_type(register_skl2onnx(), None)
skvae.export.to_onnx(vae, method="impute")  # type: ignore[arg-type]

# plots --------------------------------------------------------------------------------

figure, axes = plt.subplots(2, 2)
features = FeatureScoresDisplay.from_estimator(detector, X[:1])
assert_type(features.plot(n_features=3), FeatureScoresDisplay)
components = ComponentsDisplay.from_estimator(vae, ax=axes[0, 0], name="Customers")
assert_type(components, ComponentsDisplay)
assert_type(components.plot(sort=True), ComponentsDisplay)
assert_type(ComponentsDisplay.from_kl([0.1, 2.0]).order_, NDArray[np.intp])
curve = TrainingCurveDisplay.from_estimator(vae)
assert_type(curve.plot(linewidth=2), TrainingCurveDisplay)
assert_type(TrainingCurveDisplay.from_history(vae.history_), TrainingCurveDisplay)
assert_type(curve.train_line_, Line2D)
places = LatentMapDisplay.from_estimator(vae, frame, frame["a"], components=[0, 1])
assert_type(places.plot(n_ellipses=0), LatentMapDisplay)
assert_type(LatentMapDisplay.from_embedding(X[:, :2], ["a", None]), LatentMapDisplay)
assert_type(places.rows_, list[NDArray[np.intp]])
lines = LatentTraversalDisplay.from_estimator(make_pipeline(vae), X, ax=axes)
assert_type(lines.plot(columns=["x0", 1]), LatentTraversalDisplay)
LatentTraversalDisplay.from_points(vae, np.zeros((5, 2)), line_names=["from 0 to 4"])
LatentTraversalDisplay.from_decoded(np.zeros((2, 5, 16)), image_shape=(4, 4))
rebuilt = ReconstructionDisplay.from_estimator(vae, X)
assert_type(rebuilt.plot(kind="bars"), ReconstructionDisplay)
assert_type(ReconstructionDisplay.from_rows(X, vae.reconstruct(X)).ax_, Axes)
for number, kept in zip(rebuilt.order_, rebuilt.kept_, strict=True):
    print(number, kept)
drawn = SamplesDisplay.from_estimator(vae, X, given={0: 1.0}, kind="pairs")
assert_type(drawn.plot(columns=[0]), SamplesDisplay)
assert_type(SamplesDisplay.from_samples(frame, frame), SamplesDisplay)
drawn.plot(columns=frame.columns[:2]).plot(columns="a", ax=list(axes[0]))
drawn.plot(kind="triples")  # type: ignore[arg-type]
histogram = ScoreHistogramDisplay.from_estimator(detector, X, method="elbo")
assert_type(histogram.plot(bins=20), ScoreHistogramDisplay)
assert_type(ScoreHistogramDisplay.from_scores(vae.score_samples(X)).edges_, Floats)
histogram.figure_.savefig("scores.png")

# beside them --------------------------------------------------------------------------

assert_type(bits_per_dimension(vae.score(X), 4), float)
assert_type(two_sample_auc(frame, vae.sample(100), cv=2, random_state=0), float)
assert_type(distance_to_closest_record(X, [[0.0] * 4]), Floats)
errors: pd.Series = column_shape_errors(frame, frame, categorical=["a"])
learned = train_on_synthetic_scores(frame, frame, frame, "a", scoring="r2")
assert_type(learned, dict[str, float])
rows, labels, log_density = make_clusters(100, random_state=0)
assert_type(labels, NDArray[np.int64])
skvae.likelihoods.LIKELIHOODS["poisson"]()
skvae.__version__.split(".")
skvae.nothing  # type: ignore[attr-defined]  # noqa: B018


# members of one's own -----------------------------------------------------------------


class Laplace(Likelihood):
    """Noise with heavier tails than normal noise, as in docs/extending.md."""

    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return (1, n_features)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Laplace:
        log_scale = torch.maximum(free[..., 0, :], -log_range)
        return torch.distributions.Laplace(offset + raw[..., 0, :], log_scale.exp())


class Wide(Network):
    """One hidden layer."""

    def __init__(self, width: int = 32) -> None:
        self.width = width

    def make_encoder(
        self, n_inputs: int, n_copies: int | None = None
    ) -> tuple[torch.nn.Module, int]:
        return torch.nn.Linear(n_inputs, self.width), self.width

    make_decoder = make_encoder


VAETransformer(2, likelihood=Laplace(), network=Wide(16)).fit(X)
