"""skvae.save and skvae.load: equal bits after a round trip."""

import io
import os
import pickle
import re
from datetime import date
from decimal import Decimal

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
import torch
from discrete_cases import CASES, draw_rows
from likelihood_cases import make_rows
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch_network import TorchNetwork

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae.latents import LATENTS, Categorical, Gaussian, Hierarchical
from skvae.likelihoods import LIKELIHOODS, Autoregressive, GaussianMixture, Laplace
from skvae.objectives import IWAE, OBJECTIVES

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}


def name_case(case):
    """Return a name that is the same in every process, without addresses."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", str(case))


def dump(estimator):
    file = io.BytesIO()
    skvae.save(estimator, file)
    return file.getvalue()


def undump(content, **options):
    return skvae.load(io.BytesIO(content), **options)


def make_frame(n=60):
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-31", periods=3, tz="Europe/Paris")
    columns = {
        "number": rng.normal(size=n),
        "single": rng.random(n).astype("float32"),
        "count": pd.array(rng.poisson(3, n), dtype="Int64"),
        "money": [Decimal(int(v)) / 100 for v in rng.integers(0, 999, n)],
        "flag": rng.random(n) > 0.5,
        "level": pd.Categorical(rng.choice(list("xyz"), n)),
        "order": pd.Categorical(rng.choice([1, 2, 3], n), ordered=True),
        "text": rng.choice(["u", "v"], n),
        "string": pd.Series(rng.choice(["p", "q"], n), dtype="string"),
        "bin": pd.cut(rng.normal(size=n), [-9, -0.5, 0.5, 9]),
        "day": pd.Categorical(days[rng.integers(3, size=n)]),
        "date": pd.Categorical([date(2020, 1, int(d)) for d in rng.integers(1, 4, n)]),
        "arrow": pd.Series(rng.integers(0, 9, n), dtype="int16[pyarrow]"),
        "same": np.ones(n),
    }
    frame = pd.DataFrame(columns)
    frame.loc[3, ["number", "level", "count", "money"]] = None
    frame.columns.name = "columns"
    return frame


def make_polars(n=60):
    rng = np.random.default_rng(0)
    levels = pl.Series(rng.choice(list("xyz"), n))
    columns = {
        "number": rng.normal(size=n),
        "enum": levels.cast(pl.Enum(["x", "y", "z", "unused"])),
        "level": levels.cast(pl.Categorical),
        "money": pl.Series(rng.integers(0, 999, n)).cast(pl.Decimal(10, 2)),
        "flag": rng.random(n) > 0.5,
        "count": pl.Series(rng.integers(0, 9, n), dtype=pl.UInt16),
    }
    return pl.DataFrame(columns)


def make_arrow(n=60):
    rng = np.random.default_rng(0)
    columns = {
        "number": rng.normal(size=n),
        "level": pa.array(rng.choice(list("xyz"), n)).dictionary_encode(),
        "money": pa.array([Decimal(int(v)) for v in rng.integers(0, 99, n)]),
        "flag": rng.random(n) > 0.5,
    }
    return pa.table(columns)


def make_objects(n=60):
    frame = make_frame(n)[["number", "flag", "level", "text", "count"]]
    return frame.astype(object).to_numpy()


def assert_equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
    elif isinstance(a, (pl.DataFrame, pa.Table)):
        assert a.equals(b)
    else:
        np.testing.assert_array_equal(a, b)


def show(estimator):
    """Return the parameters as text, without places in memory."""
    return re.sub("0x[0-9A-Fa-f]+", "", repr(estimator.get_params()))


def list_losses(vae):
    """Return the history without batches and times."""
    kept = [k for k in vae.history_[0] if k not in ("batches", "dur")]
    return [[row.get(name) for name in kept] for row in vae.history_]


def assert_twins(one, two, X):
    """Check that two estimators have equal parameters, and give the same bits."""
    assert show(one) == show(two)
    for name in ("transform", "score_samples", "score_features", "reconstruct"):
        assert_equal(getattr(one, name)(X), getattr(two, name)(X))
    assert_equal(one.sample(5, random_state=0), two.sample(5, random_state=0))
    assert_equal(one.impute(X, n_draws=4), two.impute(X, n_draws=4))
    if isinstance(one, VAEOutlierDetector):
        assert_equal(one.predict(X), two.predict(X))
        assert_equal(one.explain(X), two.explain(X))
    assert one.loss_curve_ == two.loss_curve_
    assert list_losses(one) == list_losses(two)


def assert_file_has_all(vae, X, **options):
    """Check a round trip; return the loaded estimator."""
    content = dump(vae)
    twin = undump(content, **options)
    assert set(vars(vae)) - {"_kept_model"} == set(vars(twin)) - {"_kept_model"}
    # nothing is lost on the way: what is saved again is the same file
    assert dump(twin) == content
    assert_twins(vae, twin, X)
    return twin


@pytest.mark.parametrize("cls", [VAETransformer, VAEOutlierDetector])
def test_file_gives_the_same_bits(cls, X, tmp_path):
    vae = cls(2, **SMALL).fit(X)
    skvae.save(vae, tmp_path / "vae.skvae")
    twin = skvae.load(str(tmp_path / "vae.skvae"))
    assert_twins(assert_file_has_all(vae, X), twin, X)
    assert clone(twin).get_params() == clone(vae).get_params()


@pytest.mark.parametrize("make", [make_frame, make_polars, make_arrow, make_objects])
def test_tables_come_back_as_they_were(make):
    X = make()
    vae = assert_file_has_all(VAEOutlierDetector(2, **SMALL).fit(X), X)
    assert_equal(
        vae.impute(X, n_draws=4), pickle.loads(pickle.dumps(vae)).impute(X, n_draws=4)
    )


def test_indexes_of_columns_come_back(X):
    names = [
        pd.RangeIndex(6, name="number"),
        pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["x", None]),
        pd.Index([1.5, 2, 3, 4, 5, 6]),
        pd.Index([(1, "a"), (2, 3), 5.5, 7, 1j, False], dtype=object),
        pd.date_range("2020-01-01", periods=6),
        pd.CategoricalIndex(list("abcdef")),
    ]
    vae = VAETransformer(2, **SMALL | {"max_epochs": 0})
    for index in names:
        # scikit-learn 1.4 refuses frames of arrays that are not writable
        frame = pd.DataFrame(X.copy(), columns=index)
        found = undump(dump(vae.fit(frame))).columns_.names
        pd.testing.assert_index_equal(found, index)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_comes_back(name):
    X = make_rows(name, 40, 3)
    vae = VAETransformer(2, likelihood=LIKELIHOODS[name](), density="joint", **SMALL)
    twin = assert_file_has_all(vae.fit(X), X)
    assert type(twin.likelihood) is LIKELIHOODS[name]


@pytest.mark.parametrize("name", CASES)
def test_learned_levels_come_back(name):
    X = draw_rows(CASES[name], 60, 3)
    assert_file_has_all(VAETransformer(2, likelihood=CASES[name], **SMALL).fit(X), X)


@pytest.mark.parametrize(
    "members",
    [
        *({"latent": name} for name in LATENTS),
        *({"objective": name} for name in OBJECTIVES),
        {"latent": Gaussian(prior="vamp", covariance="full"), "objective": IWAE(3)},
        {"latent": Hierarchical((2, 1)), "density": None},
        {"latent": Categorical(3, gradient="gumbel"), "init": "random"},
        {"likelihood": {0: Laplace(), 2: "student_t"}},
        {"likelihood": Autoregressive(GaussianMixture(2)), "density": "joint"},
        {"n_ensemble": 2},
        {"density": None, "hidden_layer_sizes": ()},
        {"optimizer": torch.optim.SGD, "net_params": {"optimizer__momentum": 0.5}},
        {"random_state": np.random.RandomState(3)},
    ],
    ids=name_case,
)
def test_every_member_comes_back(members, X):
    latent = members.get("latent")
    n_components = 3 if isinstance(latent, (Hierarchical, Categorical)) else 2
    vae = VAETransformer(n_components, **SMALL | members).fit(X)
    twin = assert_file_has_all(vae, X)
    if "random_state" in members:
        assert twin.random_state.rand() == vae.random_state.rand()


def test_images_come_back():
    rng = np.random.default_rng(0)
    X = (rng.random((60, 1, 8, 8)) > 0.5).astype(np.uint8)
    vae = VAETransformer(2, image_shape=(1, 8, 8), likelihood="bernoulli", **SMALL)
    assert_file_has_all(vae.fit(X), X)


def test_detector_keeps_threshold_calibration_and_levels():
    X = make_frame(200)[["number", "single", "level"]]
    detector = VAEOutlierDetector(2, contamination=0.1, trim=0.05, **SMALL).fit(X)
    twin = assert_file_has_all(detector, X)
    assert twin.offset_ == detector.offset_
    assert_equal(twin.p_values(X), detector.p_values(X))
    odd = X.head(3).astype({"level": object}).assign(level="never seen")
    with pytest.warns(skvae.UnknownCategoriesWarning):
        one = detector.explain(odd)
    with pytest.warns(skvae.UnknownCategoriesWarning):
        assert_equal(one, twin.explain(odd))


@pytest.mark.parametrize(
    "vae",
    [
        VAETransformer(),
        VAEOutlierDetector(3, contamination=0.1, likelihood={"a": Laplace()}),
        VAETransformer(net_callbacks=[EarlyStopping()], net_params={"lr_warmup": 3}),
    ],
    ids=name_case,
)
def test_estimators_that_are_not_fitted_are_saved_too(vae, X):
    twin = undump(dump(vae))
    assert show(twin) == show(vae)
    assert not hasattr(twin, "net_")
    if vae.get_params()["likelihood"] == "auto":
        twin.set_params(**SMALL).fit(X)


def test_training_goes_on_after_loading_as_without():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 4))
    vae = VAETransformer(2, warm_start=True, **SMALL).fit(X)
    twin = undump(dump(vae))
    assert_twins(vae.fit(X), twin.fit(X), X)
    vae = VAEOutlierDetector(2, **SMALL).partial_fit(X)
    twin = undump(dump(vae))
    for _ in range(2):
        vae, twin = vae.partial_fit(X), twin.partial_fit(X)
    assert_twins(vae, twin, X)
    assert twin.net_.set_params(lr=0.5).optimizer_.param_groups[0]["lr"] == 0.5


class Recorder(Callback):
    """A callback of a user's own."""

    def __init__(self, factor=2):
        self.factor = factor

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs_ = getattr(self, "n_epochs_", 0) + 1


class Wide(Laplace):
    """A likelihood of a user's own."""


class Mine(VAETransformer):
    """An estimator of a user's own."""


OWN = {
    "callback": ({"net_callbacks": [Recorder()], "warm_start": True}, (Recorder,)),
    "likelihood": ({"likelihood": Wide()}, (Wide,)),
    "network": ({"network": TorchNetwork(4), "density": None}, (TorchNetwork,)),
}


@pytest.mark.parametrize("name", OWN)
def test_classes_of_ones_own_are_loaded_if_they_are_trusted(name, X):
    params, classes = OWN[name]
    vae = VAETransformer(2, **SMALL | params).fit(X)
    full = f"{classes[0].__module__}.{classes[0].__qualname__}"
    with pytest.raises(
        ValueError, match=rf"'{full}'.*not part of skvae; pass trusted="
    ):
        undump(dump(vae))
    assert_file_has_all(vae, X, trusted=classes)
    twin = undump(dump(vae), trusted=[full])
    for key, value in params.items():
        assert type(getattr(twin, key)) is type(value)


def test_all_names_that_need_trust_are_named_at_once(X):
    params = {k: v for name in OWN for k, v in OWN[name][0].items()}
    content = dump(VAETransformer(**params))
    with pytest.raises(ValueError, match="not part of skvae") as found:
        undump(content)
    for _, (cls,) in OWN.values():
        assert f"'{cls.__module__}.{cls.__qualname__}'" in str(found.value)


def test_estimators_of_ones_own_are_loaded_if_they_are_trusted(X):
    content = dump(Mine(2, **SMALL).fit(X))
    with pytest.raises(ValueError, match="Mine"):
        undump(content)
    assert type(undump(content, trusted=[Mine])) is Mine


def test_callbacks_of_skorch_are_loaded(X):
    callbacks = [LRScheduler("CosineAnnealingLR", T_max=9), EarlyStopping()]
    vae = VAETransformer(2, net_callbacks=callbacks, warm_start=True, **SMALL).fit(X)
    twin = assert_file_has_all(vae, X)
    # one object, as before
    assert twin.net_callbacks[0] in [c for _, c in twin.net_.map_net_.callbacks_]


def test_shared_objects_stay_shared(X):
    vae = VAETransformer(2, latent=Gaussian(prior="vamp"), **SMALL).fit(X)
    for twin in (undump(dump(vae)), pickle.loads(pickle.dumps(vae))):
        optimized = twin.net_.optimizer_.param_groups[-1]["params"]
        weights = {id(p) for p in twin.net_.module_.parameters()}
        assert {id(p) for p in optimized} <= weights
        assert twin.net_.module is twin.net_.module_


def test_what_scikit_learn_keeps_in_an_estimator_comes_back(X):
    with sklearn.config_context(enable_metadata_routing=True):
        vae = VAETransformer(2, **SMALL).set_output(transform="pandas")
        vae.set_fit_request(sample_weight=True)
        twin = undump(dump(vae.fit(X)))
        pd.testing.assert_frame_equal(twin.transform(X), vae.transform(X))
        asked = twin.get_metadata_routing().fit.requests["sample_weight"]
        assert asked is True


def test_objects_that_hold_themselves_come_back(X):
    one = {"numbers": [1.5, float("inf")], "pairs": {1: 2, (3, "a"): {4, 5}}}
    one["self"] = one
    twin = undump(dump(VAETransformer(net_params=one))).net_params
    assert twin["self"] is twin
    assert twin["pairs"] == one["pairs"]
    assert twin["numbers"] == one["numbers"]


def test_a_file_is_hardly_larger_than_the_weights(X):
    vae = VAETransformer(2, hidden_layer_sizes=(128, 128), random_state=0, max_epochs=1)
    vae.fit(X)
    n_bytes = sum(v.nbytes for v in vae.net_.module_.state_dict().values())
    assert len(dump(vae)) < 1.2 * n_bytes + 60_000


def test_arrays_have_names_and_shapes(X):
    from safetensors.numpy import load

    vae = VAETransformer(2, density="joint", **SMALL).fit(X)
    arrays = load(dump(vae))
    for name, value in vae.net_.module_.state_dict().items():
        np.testing.assert_array_equal(arrays[f"net_.module_.{name}"], value.numpy())


def test_saving_replaces_a_file_as_a_whole(X, tmp_path, monkeypatch):
    path = tmp_path / "vae.skvae"
    skvae.save(VAETransformer(3), path)
    mode = path.stat().st_mode
    (tmp_path / "other").touch()
    assert mode == (tmp_path / "other").stat().st_mode
    (tmp_path / "other").unlink()
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda handle: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        skvae.save(VAETransformer(4), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_objects_are_referred_to_other_ways(X, tmp_path):
    pipeline = make_pipeline(StandardScaler(), VAETransformer())
    with pytest.raises(TypeError, match=r"not a Pipeline; save pipelines .* skops"):
        skvae.save(pipeline, tmp_path / "vae")
    vae = VAETransformer(net_callbacks=[lambda: 0])
    with pytest.raises(TypeError, match=r"<lambda>.* in net_callbacks.0: .*joblib"):
        skvae.save(vae, tmp_path / "vae")
    assert not list(tmp_path.iterdir())
    joblib.dump(pipeline, tmp_path / "vae")


def test_another_version_is_warned_of(monkeypatch):
    monkeypatch.setattr(skvae, "__version__", "0.0.7")
    content = dump(VAETransformer())
    monkeypatch.undo()
    with pytest.warns(InconsistentVersionWarning, match=r"0\.0\.7") as found:
        undump(content)
    assert found[0].filename == __file__


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_of_an_accelerator_is_loaded_without_one(X, monkeypatch):
    vae = VAETransformer(2, device="cuda", **SMALL).fit(X)
    content, pickled, z = dump(vae), pickle.dumps(vae), vae.transform(X)
    assert undump(content).device_.startswith("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for twin in (undump(content), pickle.loads(pickled)):
        assert twin.device_ == "cpu"
        np.testing.assert_allclose(twin.transform(X), z, atol=1e-4)


def test_places_that_are_not_files_are_named(tmp_path):
    vae = VAETransformer()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        skvae.save(vae, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder .*x does not exist"):
        skvae.save(vae, tmp_path / "x" / "vae.skvae")
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_not_damage_where_warnings_are_errors(monkeypatch):
    file = io.BytesIO()
    skvae.save(VAETransformer(), file)
    monkeypatch.setattr(skvae, "__version__", "99.0")
    file.seek(0)
    with pytest.raises(skvae.InconsistentVersionWarning, match=r"99\.0"):
        skvae.load(file)
