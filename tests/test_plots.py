"""Plots: what is drawn are the numbers of the estimator."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.datasets import make_mixed
from skvae.plots import LatentMapDisplay, TrainingCurveDisplay

plt = pytest.importorskip("matplotlib.pyplot")

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


def is_inside(figure, artist):
    """Return whether an artist lies in the figure."""
    figure.canvas.draw()
    box, page = artist.get_window_extent(), figure.bbox
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
