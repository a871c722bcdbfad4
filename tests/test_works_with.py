"""What users do with an estimator in scikit-learn, on every version that is supported.

`tools/test_versions.py` runs this file, and `test_common.py`, on others than CI's.
"""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import VAEOutlierDetector, VAETransformer

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}


@pytest.fixture
def vae():
    return VAETransformer(2, density="joint", **SMALL)


@pytest.fixture
def frame(X):
    """A table with names, an index, categories, booleans and missing cells."""
    frame = pd.DataFrame(X[:, :3].copy(), columns=["a", "b", "c"])
    frame.loc[::7, "b"] = np.nan
    frame["flag"] = X[:, 3] > 0
    frame["level"] = pd.Categorical(np.where(X[:, 4] > 0, "high", "low"))
    return frame.set_axis(range(100, 100 + len(frame)))


def test_every_method_answers(vae, X):
    vae.fit(X)
    Z = vae.transform(X)
    assert Z.shape == (200, 2)
    assert Z.dtype == np.float32
    assert vae.inverse_transform(Z).shape == vae.reconstruct(X).shape == X.shape
    assert vae.score(X) == pytest.approx(vae.score_samples(X).mean())
    assert vae.score_features(X).shape == X.shape
    assert vae.sample(5, random_state=0).shape == (5, 6)
    assert [part.shape for part in vae.posterior(X)] == [(200, 2)] * 2
    with pytest.raises(ValueError, match="X has 5 features"):
        vae.transform(X[:, :5])
    assert vae.partial_fit(X).n_iter_ == 3


def test_tables_come_back_as_tables(frame):
    vae = VAETransformer(2, **SMALL).fit(frame)
    for table in (vae.reconstruct(frame), vae.impute(frame)):
        assert list(table.columns) == list(frame.columns)
        assert table.index.equals(frame.index)
        assert (table.dtypes == frame.dtypes).all()
        assert not table.isna().any().any()
    assert (
        vae.sample(3, random_state=0, given={"level": "low"})["level"].eq("low").all()
    )
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(frame.rename(columns={"a": "other"}))


def test_detector_answers(X):
    detector = VAEOutlierDetector(**SMALL)
    assert set(detector.fit_predict(X)) <= {-1, 1}
    assert detector.explain(X[:3]).shape == (3, 6)
    assert detector.p_values(X[:3]).shape == (3,)
    expected = detector.score_samples(X) - detector.offset_
    np.testing.assert_array_equal(detector.decision_function(X), expected)


@pytest.mark.parametrize("make", [VAETransformer, VAEOutlierDetector])
def test_copies_give_the_same_numbers(make, X, tmp_path):
    estimator = make(2, **SMALL).fit(X)
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    skvae.save(estimator, tmp_path / "estimator.skvae")
    for other in (
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(tmp_path / "estimator.joblib"),
        skvae.load(tmp_path / "estimator.skvae"),
        copy.deepcopy(estimator),
        clone(estimator).fit(X),
    ):
        np.testing.assert_array_equal(other.transform(X), estimator.transform(X))
        scores = other.score_samples(X)
        np.testing.assert_array_equal(scores, estimator.score_samples(X))


def test_pipeline_and_union_fit_and_name_their_columns(vae, X):
    union = FeatureUnion([("vae", vae), ("other", clone(vae))])
    pipeline = make_pipeline(StandardScaler(), union).fit(X)
    names = pipeline.get_feature_names_out()
    assert list(names[:2]) == ["vae__vaetransformer0", "vae__vaetransformer1"]
    assert pipeline.transform(X).shape == (200, 4)


def test_column_transformer_passes_columns_by_name(vae, frame):
    transformer = make_column_transformer((vae, ["a", "b", "c"]), remainder="drop")
    assert transformer.fit_transform(frame).shape == (200, 2)


def test_search_finds_parameters_of_members(vae, X):
    pipeline = Pipeline([("scale", StandardScaler()), ("vae", vae)])
    grid = {"vae__n_components": [1, 2], "vae__latent__prior": ["standard", "mixture"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert np.isfinite(search.score(X))


def test_latent_feeds_a_classifier(vae, X):
    y = (X[:, 0] > 0).astype(int)
    pipeline = make_pipeline(vae, LogisticRegression())
    scores = cross_val_score(pipeline, X, y, cv=2, error_score="raise")
    assert scores.mean() > 0.7


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_set_output_gives_data_frames(output, vae, frame):
    pytest.importorskip(output)
    Z = vae.set_output(transform=output).fit(frame).transform(frame)
    assert type(Z).__module__.split(".")[0] == output
    assert list(Z.columns) == ["vaetransformer0", "vaetransformer1"]
    if output == "pandas":
        assert Z.index.equals(frame.index)


def test_metadata_routing_passes_weights_and_held_out_rows(vae, X):
    weight = np.linspace(0.5, 1.5, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(TypeError, match="nothing"):
            vae.set_fit_request(nothing=True)
        vae.set_fit_request(sample_weight=True, X_val=True)
        vae.set_score_request(sample_weight=True)
        pipeline = Pipeline([("vae", vae)])
        pipeline.fit(X, sample_weight=weight, X_val=X[:50])
        search = GridSearchCV(clone(vae).set_fit_request(X_val=False), {"lr": [1e-3]})
        search.fit(X, sample_weight=weight)
    alone = clone(vae).fit(X, sample_weight=weight, X_val=X[:50])
    np.testing.assert_array_equal(pipeline.transform(X), alone.transform(X))


def test_callbacks_are_there_where_scikit_learn_has_them(vae):
    try:
        import sklearn.callback  # noqa: F401
    except ModuleNotFoundError:
        assert not hasattr(vae, "set_callbacks")
    else:
        assert callable(vae.set_callbacks)


def test_repr_and_parameters_are_those_of_scikit_learn(vae):
    assert repr(clone(vae)) == repr(vae)
    assert "n_components=2" in repr(vae)
    with pytest.raises(ValueError, match="n_components"):
        clone(vae).set_params(n_components=0).fit(np.eye(3))
    with pytest.raises(ValueError, match="Invalid parameter"):
        vae.set_params(n_component=3)
    assert "VAETransformer" in vae._repr_html_()
