"""Plots: what is drawn are the numbers of the estimator."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import ks_2samp
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer
from skvae.datasets import make_mixed
from skvae.latents import Categorical
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

plt = pytest.importorskip("matplotlib.pyplot")

# of latents that hardly train
unused_is_fine = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
LONG = "a level with a name that is far too long for any legend"


@pytest.fixture(autouse=True)
def closed():
    """Close all figures after each test."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def mixed():
    """A mixed table with missing values, 60 rows."""
    return make_mixed(n_samples=60, missing=0.1, random_state=0)


@pytest.fixture(scope="module")
def fitted_mixed(mixed):
    """An estimator of the mixed table, in two stages."""
    vae = VAETransformer(3, hidden_layer_sizes=(16,), max_epochs=2, random_state=0)
    return vae.fit(mixed)


def get_points(display):
    """Return the drawn points in the order of the rows."""
    found = np.full((len(display.points), 2), np.nan)
    for points, rows in zip(display.points_, display.rows_, strict=True):
        found[rows] = points.get_offsets()
    return found


def is_inside(figure, *artists):
    """Return whether all artists lie in the figure."""
    figure.canvas.draw()
    return all(
        _is_inside(figure.bbox, artist.get_window_extent()) for artist in artists
    )


def _is_inside(page, box):
    return (
        box.x0 >= -1
        and box.y0 >= -1
        and box.x1 <= page.x1 + 1
        and box.y1 <= page.y1 + 1
    )


def overlaps(figure, *artists):
    """Return whether any two artists overlap."""
    figure.canvas.draw()
    boxes = [artist.get_window_extent() for artist in artists]
    return any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


# maps -------------------------------------------------------------------------------


def test_map_draws_transform_and_posterior(fitted, X):
    display = LatentMapDisplay.from_estimator(fitted, X)
    np.testing.assert_allclose(get_points(display), fitted.transform(X), rtol=1e-6)
    ellipses, rows = display.ellipses_, display.ellipse_rows_
    assert len(set(rows)) == 15
    std = fitted.posterior(X)[1][rows]
    # matplotlib stores halves
    np.testing.assert_allclose(ellipses._widths, std[:, 0], rtol=1e-6)
    np.testing.assert_allclose(ellipses._heights, std[:, 1], rtol=1e-6)
    np.testing.assert_allclose(ellipses.get_offsets(), fitted.transform(X)[rows])
    assert display.ax_.get_xlabel() == "component 0"
    assert display.figure_ is display.ax_.figure


def test_map_takes_the_components_with_the_largest_kl(fitted_mixed, mixed):
    display = LatentMapDisplay.from_estimator(fitted_mixed, mixed)
    first = np.sort(np.argsort(-fitted_mixed.kl_per_component_)[:2])
    assert display.ax_.get_xlabel() == f"component {first[0]}"
    display = LatentMapDisplay.from_estimator(fitted_mixed, mixed, components=(2, 0))
    Z = fitted_mixed.transform(mixed)
    np.testing.assert_allclose(get_points(display), Z[:, [2, 0]], rtol=1e-6)
    for components in ((0, 3), (-1, 0), (0, 1, 2), (), 0.5):
        with pytest.raises(ValueError, match="components="):
            LatentMapDisplay.from_estimator(fitted_mixed, mixed, components=components)


def test_map_colours_classes_and_lists_them(fitted_mixed, mixed):
    display = LatentMapDisplay.from_estimator(fitted_mixed, mixed, mixed["education"])
    legend = display.legend_
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["school", "college", "degree", "missing", "posterior, 1 std"]
    assert legend.get_title().get_text() == "education"
    colors = {}
    for points, rows in zip(display.points_, display.rows_, strict=True):
        for color, row in zip(points.get_facecolors(), rows, strict=True):
            level = mixed["education"].iloc[row]
            colors.setdefault("missing" if pd.isna(level) else level, set()).add(
                tuple(color[:3])
            )
    assert set(colors) == {"school", "college", "degree", "missing"}
    assert all(len(found) == 1 for found in colors.values())
    assert len(set.union(*colors.values())) == 4
    keys = dict(zip(texts, legend.legend_handles, strict=True))
    for level, (color,) in colors.items():
        key = plt.matplotlib.colors.to_rgb(keys[level].get_color())
        np.testing.assert_allclose(key, color)


def test_map_colours_numbers_by_value(fitted_mixed, mixed):
    display = LatentMapDisplay.from_estimator(fitted_mixed, mixed, mixed["income"])
    unknown, known = display.rows_
    assert set(unknown) == set(np.flatnonzero(mixed["income"].isna()))
    shown = display.points_[1].get_array()
    np.testing.assert_allclose(shown, mixed["income"].to_numpy()[known])
    assert display.colorbar_.ax.get_ylabel() == "income"
    assert display.colorbar_.extend == "both"


@pytest.mark.parametrize(
    ("y", "n_entries"),
    [
        ([True, False] * 30, 2),
        ([1, 0, 2] * 20, 3),
        ([1.0, 0.0, np.nan] * 20, 3),
        ([LONG, "b", None] * 20, 3),
        (np.arange(60), 0),
        (pd.date_range("2020-01-01", periods=60, freq="30D"), 0),
        ([f"level {k}" for k in range(60)], 20),
        (pd.Series(["a", "b"] * 30, dtype="category"), 2),
        (np.repeat(7.5, 60), 0),
        (np.full(60, np.nan), 1),
        (pd.array([1, None, 3] * 20, dtype="Int64"), 3),
        (np.array(["a", "b"] * 30)[:, None], 2),
    ],
    ids=str,
)
def test_map_accepts_labels_of_any_kind(y, n_entries):
    Z = np.random.default_rng(0).normal(size=(60, 2))
    display = LatentMapDisplay.from_embedding(Z, y)
    legend = display.legend_
    texts = [] if legend is None else [t.get_text() for t in legend.get_texts()]
    assert len(texts) == n_entries
    assert all(len(text) <= 24 for text in texts)
    np.testing.assert_allclose(get_points(display), Z)
    if legend is not None:
        assert is_inside(display.figure_, legend)


def test_map_refuses_labels_of_other_rows(fitted, X):
    with pytest.raises(ValueError, match="y has 3 values, but X has 200 rows"):
        LatentMapDisplay.from_estimator(fitted, X, [0, 1, 2])
    with pytest.raises(ValueError, match="one value per row"):
        LatentMapDisplay.from_estimator(fitted, X, np.zeros((200, 2)))
    with pytest.raises(ValueError, match="one or two columns"):
        LatentMapDisplay.from_embedding(np.zeros((5, 3)))


@pytest.mark.parametrize("y", [None, "classes", "numbers"])
def test_map_of_one_component_is_a_line(quick, y):
    X, classes = load_iris(return_X_y=True)
    vae = quick(1).fit(X)
    labels = {"classes": classes, "numbers": X[:, 0] + 0.5}.get(y)
    display = LatentMapDisplay.from_estimator(vae, X, labels)
    points = get_points(display)
    np.testing.assert_allclose(points[:, 0], vae.transform(X)[:, 0], rtol=1e-6)
    if y == "classes":
        np.testing.assert_array_equal(points[:, 1].round(), classes)
    elif y == "numbers":
        np.testing.assert_allclose(points[:, 1], labels)
    segments = np.array(display.ellipses_.get_segments())
    std = vae.posterior(X)[1][display.ellipse_rows_, 0]
    np.testing.assert_allclose(np.ptp(segments[:, :, 0], axis=1), 2 * std, rtol=1e-4)


@pytest.mark.parametrize("n_rows", [1, 2, 10_000])
def test_map_of_few_or_many_rows(n_rows):
    Z = np.random.default_rng(0).normal(size=(n_rows, 2))
    display = LatentMapDisplay.from_embedding(Z, std=np.full_like(Z, 0.1))
    np.testing.assert_allclose(get_points(display), Z)
    assert len(display.ellipse_rows_) == min(n_rows, 15)
    display.figure_.canvas.draw()


def test_map_of_pipelines_and_of_other_transformers(quick):
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), quick(2)).fit(X)
    display = LatentMapDisplay.from_estimator(pipeline, X, y)
    np.testing.assert_allclose(get_points(display), pipeline.transform(X), rtol=1e-6)
    assert display.ellipses_ is not None
    pca = PCA(2).fit(X)
    display = LatentMapDisplay.from_estimator(pca, X, y)
    np.testing.assert_allclose(get_points(display), pca.transform(X))
    assert display.ellipses_ is None


def test_map_of_discrete_z_has_names_and_no_ellipses(quick, X):
    vae = quick(4, latent="categorical").fit(X)
    display = LatentMapDisplay.from_estimator(vae, X, components=(0, 3))
    assert display.ax_.get_ylabel() == "category 3"
    assert display.ellipses_ is None


def test_map_has_equal_units_also_on_shared_axes(fitted, X):
    _, axes = plt.subplots(1, 2, sharex=True, sharey=True)
    for ax in axes:
        display = LatentMapDisplay.from_estimator(fitted, X, ax=ax)
        assert display.ax_ is ax
        assert ax.get_aspect() == 1
    axes[0].figure.canvas.draw()


def test_title_of_a_map_is_above_its_legend(fitted_mixed, mixed):
    display = LatentMapDisplay.from_estimator(
        fitted_mixed, mixed, mixed["income"], name="Customers"
    )
    assert not overlaps(display.figure_, display.ax_.title, display.legend_)


# training ---------------------------------------------------------------------------


def get_values(line):
    """Return the heights of a line without its gaps."""
    values = np.asarray(line.get_ydata())
    return values[~np.isnan(values)]


def test_curves_are_those_of_the_estimator(fitted_mixed):
    display = TrainingCurveDisplay.from_estimator(fitted_mixed)
    vae, rows = fitted_mixed, fitted_mixed.history_
    np.testing.assert_allclose(
        get_values(display.train_line_), -np.array(vae.loss_curve_)
    )
    np.testing.assert_allclose(get_values(display.valid_line_), vae.validation_scores_)
    rest = [row["valid_reconstruction"] for row in rows]
    np.testing.assert_allclose(get_values(display.reconstruction_line_), rest)
    texts = {text.get_text() for text in display.ax_.texts}
    assert texts == {"map", "density"}
    # a gap between the two stages
    assert np.isnan(display.train_line_.get_ydata()[2])


def test_curve_marks_the_epoch_that_was_kept(X):
    vae = VAETransformer(2, density="joint", max_epochs=6, random_state=0).fit(X)
    display = TrainingCurveDisplay.from_estimator(vae)
    kept = dict(vae.net_.callbacks_)["best_weights"].best_epoch_
    assert display.best_epoch == kept > 0
    np.testing.assert_array_equal(display.best_line_.get_xdata(), [kept, kept])
    assert f"kept: epoch {kept}" in display.best_line_.get_label()
    score = display.valid_scores[list(display.epochs).index(kept)]
    assert score == pytest.approx(vae.best_validation_score_, abs=1e-5)


def test_curve_tells_if_training_was_of_no_use(X):
    noise = np.random.default_rng(0).normal(size=(60, 4))
    vae = VAETransformer(1, density="joint", max_epochs=3, lr=0.5, random_state=0)
    vae.fit(noise)
    assert dict(vae.net_.callbacks_)["best_weights"].best_epoch_ == 0
    display = TrainingCurveDisplay.from_estimator(vae)
    assert display.best_line_.get_label() == "kept: before the first epoch"
    np.testing.assert_array_equal(display.best_line_.get_xdata(), [0, 0])


def test_curve_without_held_out_rows(quick, X):
    vae = quick(early_stopping=False).fit(X)
    display = TrainingCurveDisplay.from_estimator(vae)
    assert display.valid_line_ is display.best_line_ is None
    rest = [row["train_reconstruction"] for row in vae.history_]
    np.testing.assert_allclose(get_values(display.reconstruction_line_), rest)


def test_curve_of_streams_and_of_no_epoch(quick, X):
    vae = quick()
    for _ in range(25):
        vae.partial_fit(X)
    display = TrainingCurveDisplay.from_estimator(vae)
    assert list(display.train_line_.get_xdata()) == list(range(6, 26))
    display = TrainingCurveDisplay.from_estimator(quick(max_epochs=0).fit(X))
    assert [text.get_text() for text in display.ax_.texts] == ["no epoch was run"]


def test_curve_of_a_warm_start_marks_the_last_stage():
    rows = [
        {"epoch": k + 1, "stage": stage, "train_loss": 5.0 - k, "valid_loss": 5.0 - k}
        | {"train_reconstruction": k, "valid_reconstruction": k}
        | {"valid_loss_best": k in (3, 4)}
        for k, stage in enumerate(["map"] * 2 + ["density"] * 2 + ["map", "density"])
    ]
    display = TrainingCurveDisplay.from_history(rows)
    assert display.best_line_ is None
    display = TrainingCurveDisplay.from_history(rows, starts_best=True)
    assert display.best_epoch == 5
    assert display.best_line_.get_label() == "kept: before the density"


def test_curve_leaves_out_a_first_epoch_far_below_the_others():
    history = [
        {"epoch": k, "train_loss": 1e6 if k == 1 else 5.0 - 0.1 * k, "train_kl": 1.0}
        | {"train_reconstruction": -4.0}
        for k in range(1, 20)
    ]
    display = TrainingCurveDisplay.from_history(history)
    low, high = display.ax_.get_ylim()
    assert -10 < low < -4.8
    assert high > -3.2


# all displays -----------------------------------------------------------------------


def test_unfitted_estimators_are_refused(X):
    with pytest.raises(NotFittedError):
        LatentMapDisplay.from_estimator(VAETransformer(), X)
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(VAETransformer())
    with pytest.raises(TypeError, match="StandardScaler has no history_"):
        TrainingCurveDisplay.from_estimator(StandardScaler().fit(X))
    with pytest.raises(NotFittedError):
        ComponentsDisplay.from_estimator(VAETransformer())
    with pytest.raises(NotFittedError):
        ScoreHistogramDisplay.from_estimator(VAEOutlierDetector(), X)
    with pytest.raises(NotFittedError):
        ReconstructionDisplay.from_estimator(VAETransformer(), X)
    with pytest.raises(NotFittedError):
        LatentTraversalDisplay.from_estimator(VAETransformer(), X)
    with pytest.raises(NotFittedError):
        SamplesDisplay.from_estimator(VAETransformer(), X)


def test_estimators_without_a_method_are_refused_by_name(X):
    scaler, pca = StandardScaler().fit(X), PCA(2).fit(X)
    with pytest.raises(TypeError, match="StandardScaler has no kl_per_component_"):
        ComponentsDisplay.from_estimator(scaler)
    with pytest.raises(TypeError, match="StandardScaler has no score_samples"):
        ScoreHistogramDisplay.from_estimator(scaler, X)
    with pytest.raises(TypeError, match=r"PCA has no sample.*from_samples"):
        SamplesDisplay.from_estimator(pca)
    with pytest.raises(TypeError, match=r"PCA has no sample.*pass X"):
        LatentTraversalDisplay.from_estimator(pca)


# components -------------------------------------------------------------------------


def get_heights(bars):
    """Return the heights of bars."""
    return [bar.get_height() for bar in bars]


def test_bars_are_the_kl_of_the_components(fitted_mixed):
    display = ComponentsDisplay.from_estimator(fitted_mixed)
    kl = fitted_mixed.kl_per_component_
    np.testing.assert_allclose(get_heights(display.bars_), np.sort(kl)[::-1])
    np.testing.assert_array_equal(kl[display.order_], np.sort(kl)[::-1])
    ticks = [int(text.get_text()) for text in display.ax_.get_xticklabels()]
    np.testing.assert_array_equal(ticks, display.order_)


def test_unused_components_are_gray_and_counted():
    display = ComponentsDisplay.from_kl([0.0, 2.0, 0.005, 1.0])
    colors = [bar.get_facecolor() for bar in display.bars_]
    assert colors[0] == colors[1] != colors[2] == colors[3]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["used: 2, 3 nats in all", "unused: 2"]
    # nothing is used
    ComponentsDisplay.from_kl([0.0]).figure_.canvas.draw()


@unused_is_fine
def test_layers_and_variables_have_their_colours(quick, X):
    vae = quick(3, latent="hierarchical").fit(X)
    display = ComponentsDisplay.from_estimator(vae)
    assert display.groups == ["layer 0", "layer 0", "layer 1"]
    np.testing.assert_allclose(get_heights(display.bars_), vae.kl_per_component_)
    vae = quick(4, latent=Categorical(n_categories=2)).fit(X)
    display = ComponentsDisplay.from_estimator(vae)
    assert display.groups == ["variable 0"] * 2 + ["variable 1"] * 2


def test_curve_names_other_terms_of_the_loss(quick, X):
    display = TrainingCurveDisplay.from_estimator(quick(objective="tc").fit(X))
    assert display.kl_area_.get_label() == "cost of the KL and other terms"
    display = TrainingCurveDisplay.from_estimator(quick().fit(X))
    assert display.kl_area_.get_label() == "cost of the KL"


@pytest.mark.parametrize("n_components", [1, 60, 300])
def test_numbers_of_components_do_not_overlap(n_components):
    kl = np.linspace(1, 2, n_components)
    display = ComponentsDisplay.from_kl(kl)
    texts = [text for text in display.ax_.get_xticklabels() if text.get_text()]
    assert not overlaps(display.figure_, *texts)
    assert is_inside(display.figure_, display.ax_.get_legend())


# scores -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector(X):
    """A detector of outliers."""
    return VAEOutlierDetector(max_epochs=2, contamination=0.1, random_state=0).fit(X)


def test_histogram_counts_scores_and_marks_the_threshold(detector, X):
    display = ScoreHistogramDisplay.from_estimator(detector, X)
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(display.scores, scores)
    values, edges, _ = display.areas_[0].get_data()
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    np.testing.assert_array_equal(values, counts)
    assert values.sum() == len(X)
    assert display.threshold_line_.get_xdata()[0] == detector.offset_
    share = (detector.predict(X) < 0).mean()
    text = display.ax_.get_legend().get_texts()[0].get_text()
    assert text == f"200 rows, {share:.1%} below"
    assert "nats" in display.ax_.get_xlabel()


def test_histograms_of_classes_are_shares(detector, X):
    y = np.where(np.arange(len(X)) < 30, "odd", "normal")
    display = ScoreHistogramDisplay.from_estimator(detector, X, y)
    scores = detector.score_samples(X)
    for area, level in zip(display.areas_, ["normal", "odd"], strict=True):
        values, edges, _ = area.get_data()
        clipped = np.clip(scores[y == level], edges[0], edges[-1])
        expected = np.histogram(clipped, edges)[0] / (y == level).sum()
        np.testing.assert_allclose(values, expected)


def test_threshold_belongs_to_the_default_method(detector, fitted, X):
    display = ScoreHistogramDisplay.from_estimator(detector, X, method="elbo")
    assert display.threshold is None
    np.testing.assert_array_equal(display.scores, detector.score_samples(X, "elbo"))
    display = ScoreHistogramDisplay.from_estimator(detector, X, method="pooled")
    assert display.threshold == detector.offset_
    display = ScoreHistogramDisplay.from_estimator(fitted, X)
    assert display.threshold_line_ is None


def test_histogram_of_other_detectors(X):
    forest = IsolationForest(random_state=0).fit(X)
    display = ScoreHistogramDisplay.from_estimator(forest, X)
    assert display.threshold == forest.offset_
    np.testing.assert_allclose(display.scores, forest.score_samples(X))


@pytest.mark.parametrize("scores", [[1.0], [2.0, 2.0], [-np.inf, 0.0, np.nan]])
def test_histogram_of_few_scores(scores):
    display = ScoreHistogramDisplay.from_scores(scores, threshold=1.0)
    values = display.areas_[0].get_data().values
    assert values.sum() == np.sum(~np.isnan(scores))
    display.figure_.canvas.draw()


def test_threshold_far_off_leaves_room_for_the_scores():
    scores = np.arange(50.0)
    display = ScoreHistogramDisplay.from_scores(scores, threshold=-1e6)
    assert display.ax_.get_xlim()[0] > -10
    display = ScoreHistogramDisplay.from_scores(scores, threshold=-20)
    assert display.ax_.get_xlim()[0] < -20
    # two equal scores have no range
    display = ScoreHistogramDisplay.from_scores([1.0, 1.0], threshold=1.0)
    assert display.areas_[0].get_data().values.sum() == 2


def test_histogram_refuses_numbers_as_classes_and_no_scores():
    with pytest.raises(ValueError, match=r"numbers such as 0\.5"):
        ScoreHistogramDisplay.from_scores([1.0, 2.0], [0.5, 0.7])
    with pytest.raises(ValueError, match="at least one that is finite"):
        ScoreHistogramDisplay.from_scores([np.nan])


def test_legend_of_many_classes_covers_no_name():
    rng = np.random.default_rng(0)
    classes = [f"a long name of class {k % 10}" for k in range(1000)]
    display = ScoreHistogramDisplay.from_scores(rng.standard_t(2, 1000), classes)
    ax = display.ax_
    assert not overlaps(display.figure_, ax.xaxis.label, ax.get_legend())
    assert is_inside(display.figure_, ax.get_legend())


# reconstruction ---------------------------------------------------------------------


def test_images_stand_above_their_reconstruction(quick):
    X = np.random.default_rng(0).random((12, 6, 5)).reshape(12, 30)
    vae = quick(2).fit(X)
    display = ReconstructionDisplay.from_estimator(vae, X, image_shape=(6, 5))
    sheet = display.image_.get_array()
    # 10 images with a gap of one pixel
    assert sheet.shape == (6 + 1 + 6, 10 * 6 - 1)
    rebuilt = vae.reconstruct(X)
    for k in range(10):
        place = slice(6 * k, 6 * k + 5)
        np.testing.assert_allclose(sheet[:6, place].ravel(), X[k])
        np.testing.assert_allclose(sheet[7:, place].ravel(), rebuilt[k], rtol=1e-6)
    assert sheet.mask[6].all()
    names = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert names == ["real", "reconstructed"]
    assert display.image_.get_clim() == (X[:10].min(), X[:10].max())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_in_colour(quick, dtype):
    X = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 4))
    X = X.astype(dtype) if dtype == np.uint8 else (X / 255).astype(dtype)
    vae = quick(2, image_shape=(3, 4, 4), network="mlp").fit(X)
    display = ReconstructionDisplay.from_estimator(vae, X, n_images=3)
    shown = np.asarray(display.image_.get_array())
    unit = 255 if dtype == np.uint8 else 1
    np.testing.assert_allclose(shown[:4, :4, :3], X[0].transpose(1, 2, 0) / unit)
    # nothing between the images
    assert (shown[4, :, 3] == 0).all()


def test_images_of_other_shapes_are_refused(fitted, X):
    for image_shape in ((2, 2, 2), (6,), 6.5):
        with pytest.raises((ValueError, TypeError)):
            ReconstructionDisplay.from_estimator(fitted, X, image_shape=image_shape)
    with pytest.raises(ValueError, match="Rows have 6 values"):
        ReconstructionDisplay.from_estimator(fitted, X, image_shape=(2, 2))


def test_panels_show_values_against_reconstructions(fitted_mixed, mixed):
    display = ReconstructionDisplay.from_estimator(fitted_mixed, mixed)
    rebuilt = fitted_mixed.reconstruct(mixed)
    assert len(display.axes_) == mixed.shape[1]
    known = mixed["income"].notna()
    number = list(mixed.columns).index("income")
    points = display.artists_[number].get_offsets()
    expected = np.column_stack([mixed["income"][known], rebuilt["income"][known]])
    np.testing.assert_allclose(points, expected)
    share = r2_score(*expected.T)
    assert display.kept_[number] == pytest.approx(share)
    assert display.axes_[number].get_title() == f"income: R² {share:.3g}"
    number = list(mixed.columns).index("education")
    known = mixed["education"].notna()
    right = (mixed["education"] == rebuilt["education"])[known].mean()
    assert display.kept_[number] == pytest.approx(right)
    matrix = np.asarray(display.artists_[number].get_array())
    table = pd.crosstab(
        mixed["education"], rebuilt["education"], normalize="index", dropna=False
    ).reindex(
        index=["school", "college", "degree"], columns=["school", "college", "degree"]
    )
    np.testing.assert_allclose(matrix, table.fillna(0))


def test_bars_of_many_columns_are_ordered_and_readable():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 60))
    X[:, 7] = 3.0
    rebuilt = X + rng.normal(size=X.shape) * np.linspace(0, 2, 60)
    frames = [
        pd.DataFrame(t, columns=[f"{LONG}, {k}" for k in range(60)])
        for t in (X, rebuilt)
    ]
    display = ReconstructionDisplay.from_rows(*frames)
    assert len(display.kept_) == 40
    assert (np.diff(display.kept_) >= 0).all()
    expected = r2_score(X, rebuilt, multioutput="raw_values")[display.order_]
    np.testing.assert_allclose(display.kept_, expected)
    texts = display.ax_.get_yticklabels()
    assert not overlaps(display.figure_, *texts)
    assert is_inside(display.figure_, *texts)
    display = ReconstructionDisplay.from_rows(*frames, columns=[7, f"{LONG}, 8"])
    assert display.axes_[0].get_title().endswith("constant")
    assert list(display.order_) == [7, 8]


def test_reconstruction_refuses_unknown_columns_kinds_and_rows(fitted, X):
    with pytest.raises(ValueError, match="columns has 6"):
        ReconstructionDisplay.from_estimator(fitted, X, columns=[6])
    with pytest.raises(ValueError, match="kind='pies'"):
        ReconstructionDisplay.from_estimator(fitted, X, kind="pies")
    with pytest.raises(ValueError, match="X has 200 rows, but rebuilt has 3"):
        ReconstructionDisplay.from_rows(X, X[:3])


# traversals -------------------------------------------------------------------------


def test_traversal_decodes_lines_of_one_component(fitted, X):
    display = LatentTraversalDisplay.from_estimator(fitted, X, n_steps=5)
    Z, places = display.Z, fitted.transform(X).astype(float)
    assert Z.shape == (2, 5, 2)
    for line in range(2):
        other = 1 - line
        assert len(np.unique(Z[line, :, other])) == 1
        ends = np.quantile(places[:, line], [0.02, 0.98])
        np.testing.assert_allclose(Z[line, [0, -1], line], ends)
    decoded = fitted.inverse_transform(Z.reshape(-1, 2))
    np.testing.assert_array_equal(display.decoded, decoded)
    # the middle is a row
    assert np.abs(places - Z[0, 0]).min(axis=0)[1] == 0
    for line, image in enumerate(display.artists_):
        rows = decoded.reshape(2, 5, -1)[line][:, display.order_].T
        expected = (rows - rows[:, [2]]) / X.std(axis=0)[display.order_][:, None]
        np.testing.assert_allclose(image.get_array(), expected, atol=1e-5)


def test_traversal_without_rows_is_deterministic(fitted):
    first, second = (LatentTraversalDisplay.from_estimator(fitted) for _ in range(2))
    np.testing.assert_array_equal(first.Z, second.Z)


def test_traversal_writes_levels_and_end_values(fitted_mixed, mixed):
    display = LatentTraversalDisplay.from_estimator(
        fitted_mixed, mixed, components=[0], columns=["income", "education"]
    )
    texts = [text.get_text() for text in display.ax_.texts]
    decoded = display.decoded
    assert texts[0] == f"{decoded['income'].iloc[0]:,.0f}"
    assert texts[1] == f"{decoded['income'].iloc[-1]:,.0f}"
    levels = decoded["education"].astype(str)
    assert texts[2:] == list(levels[levels != levels.shift()])
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["income", "education"]


def test_traversal_of_a_table_needs_no_names_and_no_spread(fitted, X):
    known = LatentTraversalDisplay.from_estimator(fitted, X)
    names = [f"component {j}" for j in range(len(known.Z))]
    display = LatentTraversalDisplay(known.Z, known.decoded, names).plot()
    assert sorted(display.order_) == sorted(known.order_)
    rows = np.asarray(known.decoded).reshape(*known.Z.shape[:2], -1)
    change = (rows[0, -1] - rows[0, rows.shape[1] // 2]) / np.asarray(
        known.decoded
    ).std(0)
    drawn = display.artists_[0].get_array()[:, -1]
    np.testing.assert_allclose(drawn, change[display.order_])


def test_images_are_drawn_on_the_first_of_several_axes(quick):
    X = np.random.default_rng(0).random((30, 16))
    axes = plt.subplots(1, 2)[1]
    display = SamplesDisplay.from_samples(X, image_shape=(4, 4), ax=axes)
    assert display.ax_ is axes[0]


def test_traversal_of_images_and_of_points_of_ones_own(quick):
    X = np.random.default_rng(0).random((30, 16))
    vae = quick(2).fit(X)
    display = LatentTraversalDisplay.from_estimator(vae, X, image_shape=(4, 4))
    sheet = display.image_.get_array()
    assert sheet.shape == (2 * 5 - 1, 9 * 5 - 1)
    decoded = vae.inverse_transform(display.Z.reshape(-1, 2))
    np.testing.assert_allclose(sheet[5:, :4].ravel(), decoded[9], rtol=1e-6)
    ends = vae.transform(X[:2])
    line = np.linspace(*ends, 4)
    display = LatentTraversalDisplay.from_points(vae, line, image_shape=(4, 4))
    assert not any(text.get_text() for text in display.ax_.get_yticklabels())
    shown = display.image_.get_array()
    np.testing.assert_allclose(
        shown[:, 15:].ravel(), vae.inverse_transform(ends)[1], rtol=1e-5
    )
    lines = np.stack([X[:3], X[3:6]])
    display = LatentTraversalDisplay.from_decoded(
        lines, line_names=["one", "two"], image_shape=(4, 4)
    )
    np.testing.assert_allclose(display.image_.get_array()[5:, :4].ravel(), X[3])
    display = LatentTraversalDisplay.from_decoded(lines)
    expected = (lines[0] - lines[0, 1]) / X[:6].std(axis=0)
    np.testing.assert_allclose(
        display.artists_[0].get_array(), expected.T[display.order_], atol=1e-12
    )
    with pytest.raises(ValueError, match="n_lines, n_steps, n_features"):
        LatentTraversalDisplay.from_decoded(X)
    with pytest.raises(ValueError, match="n_lines, n_steps, n_components"):
        LatentTraversalDisplay.from_points(vae, ends[0])


@unused_is_fine
@pytest.mark.parametrize("n_categories", [None, 3])
def test_traversal_of_discrete_z_goes_through_all_categories(quick, X, n_categories):
    latent = Categorical(n_categories=n_categories)
    vae = quick(6, latent=latent).fit(X)
    display = LatentTraversalDisplay.from_estimator(vae, X)
    n_lines, n_steps = (1, 6) if n_categories is None else (2, 3)
    assert display.Z.shape == (n_lines, n_steps, 6)
    assert set(np.unique(display.Z)) == {0, 1}
    assert (display.Z.sum(axis=2) == n_lines).all()
    np.testing.assert_array_equal(display.Z[0, :, :n_steps], np.eye(n_steps))


@unused_is_fine
def test_traversal_takes_the_layers_that_the_decoder_sees(quick, X):
    vae = quick(3, latent="hierarchical").fit(X)
    display = LatentTraversalDisplay.from_estimator(vae, X)
    assert list(display.line_names) == ["component 0", "component 1"]


def test_traversal_of_wide_tables_is_readable(quick):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 60)))
    X.columns = [f"{LONG}, {k}" for k in X]
    display = LatentTraversalDisplay.from_estimator(quick(5).fit(X), X)
    assert len(display.axes_) == 4
    assert len(display.order_) == 25
    texts = display.ax_.get_yticklabels()
    assert not overlaps(display.figure_, *texts)
    assert is_inside(display.figure_, *texts)


# samples ----------------------------------------------------------------------------


def test_marginals_are_those_of_real_and_drawn_rows(fitted_mixed, mixed):
    display = SamplesDisplay.from_estimator(fitted_mixed, mixed)
    drawn = fitted_mixed.sample(60, random_state=0)
    pd.testing.assert_frame_equal(display.drawn, drawn)
    number = list(mixed.columns).index("income")
    for artist, table in zip(display.artists_[number], (mixed, drawn), strict=True):
        values, edges, _ = artist.get_data()
        known = table["income"].dropna().clip(edges[0], edges[-1])
        np.testing.assert_allclose(values, np.histogram(known, edges)[0] / len(known))
    number = list(mixed.columns).index("education")
    for bars, table in zip(display.artists_[number], (mixed, drawn), strict=True):
        shares = table["education"].value_counts(normalize=True, sort=False)
        np.testing.assert_allclose([bar.get_width() for bar in bars], shares)
    number = list(mixed.columns).index("age")
    distance = ks_2samp(mixed["age"].dropna(), drawn["age"]).statistic
    assert display.differences_[number] == pytest.approx(distance)
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert texts == ["real", "drawn"]


def test_pairs_are_points_of_both_tables(fitted, X):
    display = SamplesDisplay.from_estimator(fitted, X, kind="pairs", columns=[4, 1])
    points = display.artists_[1].get_offsets()
    rows = np.concatenate([X, display.drawn])[:, [4, 1]]
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(rows[:, 0]))
    np.testing.assert_allclose(np.sort(points.sum(axis=1)), np.sort(rows.sum(axis=1)))
    assert display.axes_.shape == (2, 2)
    assert not display.axes_[0, 1].axison


def test_drawn_images_stand_beside_real_ones(quick):
    X = np.random.default_rng(0).random((40, 16))
    vae = quick(2).fit(X)
    display = SamplesDisplay.from_estimator(vae, X, image_shape=(4, 4), mean=True)
    sheet = display.image_.get_array()
    assert sheet.shape == (5 * 5 - 1, 11 * 5 - 1)
    drawn = vae.sample(25, random_state=0, mean=True)
    np.testing.assert_allclose(sheet[:4, :4].ravel(), X[0])
    np.testing.assert_allclose(sheet[:4, 30:34].ravel(), drawn[0], rtol=1e-6)
    assert sheet.mask[:, 25:29].all()
    names = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert names == ["real", "drawn"]
    display = SamplesDisplay.from_estimator(
        vae, image_shape=(4, 4), n_samples=7, n_columns=7, random_state=1
    )
    assert display.image_.get_array().shape == (4, 7 * 5 - 1)


def test_conditional_rows_are_drawn(fitted_mixed, mixed):
    display = SamplesDisplay.from_estimator(
        fitted_mixed, mixed, given={"education": "degree"}, n_samples=50
    )
    assert (display.drawn["education"] == "degree").all()


def test_wide_tables_show_the_columns_that_differ_most():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(2, 100, 60))
    drawn[:, [3, 50]] += 5
    display = SamplesDisplay.from_samples(drawn, real)
    assert len(display.axes_) == 12
    assert {3, 50} <= set(display.order_)
    assert (np.diff(display.order_) > 0).all()
    assert display.legend_.get_title().get_text().startswith("12 of 60 columns")


@pytest.mark.parametrize("kind", ["marginals", "pairs"])
@pytest.mark.parametrize(
    "table",
    [
        np.ones((1, 1)),
        np.ones((5, 2)),
        np.array([[np.nan, 1.0], [np.nan, 2.0]]),
        np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 4.0),
        np.array([["a", 1.5], [None, 2.0], ["b", None]], dtype=object),
        [["a", 1], ["b", 2]],
        pd.DataFrame(
            {LONG: pd.array([1, None, 3], dtype="Int64"), "b": [True, False, True]}
        ),
        pd.DataFrame({"a": [f"{LONG} {k}" for k in range(30)], "b": range(30)}),
    ],
    ids=range(8),
)
def test_tables_of_any_kind_are_drawn(kind, table):
    display = SamplesDisplay.from_samples(table, table, kind=kind)
    assert np.all(display.differences_ == 0)
    display.figure_.canvas.draw()
    SamplesDisplay.from_samples(table, kind=kind).figure_.canvas.draw()
    ReconstructionDisplay.from_rows(table, table).figure_.canvas.draw()


@pytest.mark.parametrize("container", ["polars", "pyarrow"])
def test_tables_of_other_libraries_are_drawn(container):
    frame = pd.DataFrame({"a": [1.5, None, 3.0], "b": ["x", "y", None]})
    if container == "polars":
        columns = {"a": [1.5, None, 3.0], "b": ["x", "y", None]}
        table = pytest.importorskip("polars").DataFrame(columns)
    else:
        table = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    display = SamplesDisplay.from_samples(table, frame)
    np.testing.assert_allclose(display.differences_, 0)
    labels = table["b"]
    map_ = LatentMapDisplay.from_embedding(np.eye(3)[:, :2], labels)
    texts = [text.get_text() for text in map_.legend_.get_texts()]
    assert texts == ["x", "y", "missing"]


MAKE_SPARSE = {
    "csr_array": sp.csr_array,
    "coo_matrix": sp.coo_matrix,
    "frame": lambda X: pd.DataFrame.sparse.from_spmatrix(sp.csr_array(X)),
}


@pytest.fixture(scope="module")
def counts():
    """Counts, and a model and a detector of them."""
    X = np.random.default_rng(0).poisson(1.0, size=(40, 4)).astype(float)
    settings = {"likelihood": "poisson", "max_epochs": 1, "random_state": 0}
    vae, detector = VAETransformer(2, **settings), VAEOutlierDetector(2, **settings)
    return X, vae.fit(X), detector.fit(X)


def draw_all(vae, detector, X, **style):
    """Return the pixels of all displays that take rows."""
    first = sp.csr_array(X)[:1] if sp.issparse(X) else X[:1]
    Z = np.zeros((2, 3, 2))
    for display in (
        LatentMapDisplay.from_estimator(vae, X),
        ScoreHistogramDisplay.from_estimator(vae, X),
        ReconstructionDisplay.from_estimator(vae, X, **style),
        ReconstructionDisplay.from_rows(X, X, **style),
        SamplesDisplay.from_estimator(vae, X, **style),
        SamplesDisplay.from_samples(X, X, **style),
        LatentTraversalDisplay.from_estimator(vae, X, **style),
        LatentTraversalDisplay.from_points(vae, Z, X=X, **style),
        FeatureScoresDisplay.from_estimator(detector, first),
    ):
        for ax in display.figure_.axes:
            # names of columns differ between arrays and frames
            ax.set_title("")
        display.figure_.canvas.draw()
        yield np.asarray(display.figure_.canvas.buffer_rgba())


@unused_is_fine
@pytest.mark.parametrize("style", [{}, {"image_shape": (2, 2)}], ids=["table", "image"])
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", MAKE_SPARSE)
def test_sparse_tables_are_drawn_as_dense_ones(counts, kind, style):
    X, *fitted = counts
    given = MAKE_SPARSE[kind](X)
    if kind == "frame":
        given.columns = [f"x{j}" for j in range(4)]
    dense = draw_all(*fitted, X, **style)
    found = draw_all(*fitted, given, **style)
    for one, other in zip(dense, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_more_rows_of_a_sparse_table_are_dense_than_are_drawn(monkeypatch):
    X, largest = sp.random_array((500, 16), density=0.1, format="csr"), []
    to_array = sp.csr_array.toarray

    def watch(self, *args, **params):
        largest.append(self.shape[0])
        return to_array(self, *args, **params)

    monkeypatch.setattr(sp.csr_array, "toarray", watch)
    ReconstructionDisplay.from_rows(X, X, image_shape=(4, 4)).plot(n_images=3)
    assert largest == [10, 10, 3, 3]
    largest.clear()
    SamplesDisplay.from_samples(X[:9], X, image_shape=(4, 4))
    assert largest == [9, 9]


def test_columns_without_any_value_are_drawn():
    table = pd.DataFrame({"a": pd.Series([None, None], dtype=object), "b": [1.0, 2.0]})
    for kind in ("marginals", "pairs"):
        SamplesDisplay.from_samples(table, table, kind=kind).figure_.canvas.draw()
    display = ReconstructionDisplay.from_rows(table, table)
    assert np.isnan(display.kept_[0])


# axes, titles, backgrounds ----------------------------------------------------------


def make_all(fitted, detector, X, **kwargs):
    """Return one display of each class."""
    return [
        LatentMapDisplay.from_estimator(fitted, X, X[:, 0] > 0, **kwargs),
        TrainingCurveDisplay.from_estimator(fitted, **kwargs),
        ComponentsDisplay.from_estimator(fitted, **kwargs),
        ScoreHistogramDisplay.from_estimator(detector, X, **kwargs),
        ReconstructionDisplay.from_estimator(fitted, X, **kwargs),
        LatentTraversalDisplay.from_estimator(fitted, X, **kwargs),
        SamplesDisplay.from_estimator(fitted, X, **kwargs),
        FeatureScoresDisplay.from_estimator(detector, X[:1], **kwargs),
    ]


def test_titles_are_the_name(fitted, detector, X):
    for display in make_all(fitted, detector, X, name="Tumours"):
        titles = [display.ax_.get_title(), display.figure_.get_suptitle()]
        assert "Tumours" in titles


def test_displays_draw_on_axes_that_they_are_given(fitted, detector, X):
    figure, axes = plt.subplots(2, 4, figsize=(24, 12), layout="constrained")
    for number, ax in enumerate(axes.ravel()):
        display = make_all_one(number, fitted, detector, X, ax)
        assert display.figure_ is figure
    figure.canvas.draw()
    with pytest.raises(ValueError, match="ax has 3 axes, but 6 are drawn"):
        SamplesDisplay.from_estimator(fitted, X, ax=plt.subplots(3)[1])
    with pytest.raises(ValueError, match=r"plt\.subplots"):
        SamplesDisplay.from_estimator(fitted, X, ax=plt.figure().add_axes((0, 0, 1, 1)))
    grid = plt.subplots(2, 3)[1]
    display = SamplesDisplay.from_estimator(fitted, X, ax=grid)
    assert list(display.axes_) == list(grid.ravel())
    # above the bars
    top = max(area.get_data().values.max() for area in display.artists_[0])
    display.figure_.canvas.draw()
    bottom = display.legend_.get_window_extent().y0
    assert grid[0, 0].transData.inverted().transform((0, bottom))[1] > top


def make_all_one(number, fitted, detector, X, ax):
    """Return the display of one class on the axes."""
    makers = [
        lambda: LatentMapDisplay.from_estimator(fitted, X, ax=ax),
        lambda: TrainingCurveDisplay.from_estimator(fitted, ax=ax),
        lambda: ComponentsDisplay.from_estimator(fitted, ax=ax),
        lambda: ScoreHistogramDisplay.from_estimator(detector, X, ax=ax),
        lambda: ReconstructionDisplay.from_estimator(fitted, X, ax=ax),
        lambda: LatentTraversalDisplay.from_estimator(fitted, X, ax=ax),
        lambda: SamplesDisplay.from_estimator(fitted, X, ax=ax),
        lambda: FeatureScoresDisplay.from_estimator(detector, X[:1], ax=ax),
    ]
    return makers[number]()


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_text_and_lines_stand_out_on_any_background(fitted, detector, X, style):
    from matplotlib.colors import to_rgb

    with plt.style.context(style):
        for display in make_all(fitted, detector, X):
            for ax in display.figure_.axes:
                ground = np.array(to_rgb(ax.get_facecolor()))
                for line in ax.lines:
                    distance = np.abs(np.array(to_rgb(line.get_color())) - ground)
                    assert distance.max() > 0.3


def test_text_takes_the_colour_of_the_axes_that_it_is_on(fitted, detector, X):
    from matplotlib.colors import same_color

    with plt.style.context("dark_background"):
        axes = plt.subplots(2, 4, figsize=(24, 12), layout="constrained")[1].ravel()
    for number, ax in enumerate(axes[:7]):
        display = make_all_one(number, fitted, detector, X, ax)
        # panels of their own follow the style in use
        legend = ax.get_legend()
        for text in [] if legend is None else legend.get_texts():
            assert same_color(text.get_color(), "white")
        assert display.figure_ is ax.figure


def test_searches_and_pipelines_are_opened(quick):
    X = load_iris(as_frame=True).data
    pipeline = make_pipeline(StandardScaler(), quick(2))
    search = GridSearchCV(pipeline, {"vaetransformer__lr": [0.01]}, cv=2).fit(X)
    for model in (search, search.best_estimator_):
        display = ComponentsDisplay.from_estimator(model)
        assert len(display.bars_) == 2
        display = ReconstructionDisplay.from_estimator(model, X)
        # names of before the scaler, values of after it
        assert display.axes_[0].get_title().startswith("sepal length (cm): R²")
        scaled = search.best_estimator_[:-1].transform(X)
        np.testing.assert_allclose(display.X, scaled)
        display = LatentTraversalDisplay.from_estimator(model, X)
        labels = [text.get_text() for text in display.ax_.get_yticklabels()]
        assert set(labels) == set(X.columns)


def test_numbers_of_panels_and_bars_are_checked(fitted, X):
    with pytest.raises(ValueError, match="bins=0 must be a positive integer"):
        ScoreHistogramDisplay.from_scores([1.0], bins=0)
    with pytest.raises(ValueError, match="n_images=-1 must be"):
        ReconstructionDisplay.from_estimator(fitted, X, n_images=-1)
    with pytest.raises(ValueError, match=r"n_steps=2\.5 must be"):
        LatentTraversalDisplay.from_estimator(fitted, X, n_steps=2.5)
    with pytest.raises(ValueError, match="n_columns=0 must be"):
        SamplesDisplay.from_estimator(fitted, X, n_columns=0)


def test_names_of_any_form_are_in_the_legend():
    y = ["_hidden", "$cost$", "", "two\nlines"] * 5
    display = LatentMapDisplay.from_embedding(
        np.random.default_rng(0).normal(size=(20, 2)), y
    )
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert set(texts) == {" _hidden", "(empty)", r"\$cost\$", "two lines"}
    display.figure_.canvas.draw()


def test_displays_of_one_row(fitted, detector, X):
    for display in make_all(fitted, detector, X[:1]):
        display.figure_.canvas.draw()


def test_ensembles_are_drawn(quick, X):
    vae = quick(2, n_ensemble=2).fit(X)
    detector = VAEOutlierDetector(max_epochs=1, n_ensemble=2, random_state=0).fit(X)
    for display in make_all(vae, detector, X):
        display.figure_.canvas.draw()


def test_plot_again_with_other_options_keeps_the_data(fitted, X):
    display = LatentMapDisplay.from_estimator(fitted, X)
    ax = plt.subplots()[1]
    again = display.plot(ax, n_ellipses=3, name="again", marker="s", s=4)
    assert again is display
    assert display.ax_ is ax
    assert ax.get_title() == "again"
    assert len(display.ellipse_rows_) == 3


def test_estimators_that_explain_nothing_are_refused():
    X = np.random.default_rng(0).standard_normal((40, 3))
    vae = VAETransformer(1, max_epochs=1, random_state=0).fit(X)
    with pytest.raises(TypeError, match=r"has no explain, .*from_scores"):
        FeatureScoresDisplay.from_estimator(vae, X[:1])
