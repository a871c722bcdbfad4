"""`summary`: a fitted estimator on one page, beside its fitted attributes."""

import copy
import html
import json
import math
import pickle
import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping

import skvae
from skvae import UnusedComponentsWarning, VAEOutlierDetector, VAETransformer
from skvae.callbacks import StopTraining
from skvae.networks import MLP

QUICK = {"random_state": 0, "max_epochs": 3, "hidden_layer_sizes": (6, 5)}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    n = 120
    X = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "visits": rng.poisson(3, n),
            "is_new": rng.random(n) > 0.5,
            "city": rng.choice(list("xyz"), n),
            "grade": pd.Categorical(rng.choice(["a", "b"], n), ordered=True),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), "D"),
            "same": 1.0,
        }
    )
    X.loc[::4, "size"] = np.nan
    return X


@pytest.fixture(scope="module")
def numbers():
    Z = np.random.default_rng(0).normal(size=(120, 1))
    return Z @ np.ones((1, 4)) + np.random.default_rng(1).normal(size=(120, 4)) / 3


@pytest.fixture(scope="module")
def vae(table):
    return VAETransformer(2, **QUICK).fit(table)


@pytest.fixture(scope="module")
def detector(numbers):
    return VAEOutlierDetector(2, contamination=0.1, **QUICK).fit(numbers)


def read_text(summary):
    """Return the lines of a summary by label, and the rows of its columns."""
    head, rows = repr(summary).split("\n\ncolumn", 1)
    lines, label = {}, None
    for line in head.split("\n")[2:]:
        label = line[:12].strip() or label
        lines[label] = f"{lines.get(label, '')} {line[12:]}".strip()
    return lines, rows.split("\n")[1:]


class Cells(HTMLParser):
    """The texts of the cells of tables, and the tags around them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.is_open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self.is_open = True

    def handle_endtag(self, tag):
        self.is_open = self.is_open and tag not in ("td", "th")

    def handle_data(self, data):
        if self.is_open:
            self.cells[-1] += data


# values -------------------------------------------------------------------------------


def test_values_are_those_of_the_fitted_attributes(vae, table):
    facts = vae.summary().to_dict()
    assert facts["estimator"] == "VAETransformer"
    assert facts["n_rows"] == len(table)
    frame, columns = vae.columns_.to_frame(), facts["columns"]
    assert columns["n_columns"] == vae.n_features_in_
    assert columns["kinds"] == frame["kind"].value_counts().to_dict()
    assert columns["likelihoods"] == frame["likelihood"].value_counts().to_dict()
    assert columns["n_constant"] == frame["likelihood"].isna().sum() == 1
    assert columns["missing_share"] == pytest.approx(table.isna().to_numpy().mean())
    assert columns["n_with_missing"] == (frame["missing"] > 0).sum() == 1
    latent = facts["latent"]
    assert latent["n_components"] == vae.n_components_
    assert latent["n_active"] == vae.n_active_components_
    assert latent["nats"] == pytest.approx(vae.kl_per_component_.sum())
    module = vae.net_.module_
    networks = facts["networks"]
    assert networks["network"] == "MLP"
    assert networks["n_weights"] == sum(p.numel() for p in module.parameters())
    known = sum(p.numel() for p in module.linear_start.map.parameters())
    assert networks["n_weights_map"] == known
    assert facts["held_out"]["what"] == "ELBO"
    assert facts["held_out"]["score"] == vae.best_validation_score_
    training = facts["training"]
    stages = vae.history_[:, "stage"]
    assert training["epochs"] == {s: stages.count(s) for s in ("map", "density")}
    assert training["n_draws"] == vae.n_draws_
    assert training["device"] == vae.device_
    assert training["seconds"] >= sum(vae.history_[:, "dur"])
    assert facts["versions"] == {
        "skvae": skvae.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }
    assert json.loads(json.dumps(facts)) == facts


def test_text_and_html_have_the_values(vae):
    facts = vae.summary().to_dict()
    text, rows = read_text(vae.summary())
    score, start = re.findall(r"-?[\d.]+", text["Held-out"])
    assert float(score) == pytest.approx(vae.best_validation_score_, rel=1e-3)
    start_loss = facts["held_out"]["before_training"]
    assert float(start) == pytest.approx(start_loss, rel=1e-3)
    assert text["Missing"] == "3.57 % of the cells, in 1 column"
    weights = [
        int(v.replace(",", "")) for v in re.findall("[0-9,]{3,}", text["Networks"])
    ]
    assert weights == [facts["networks"][k] for k in ("n_weights", "n_weights_map")]
    assert [row.split()[0] for row in rows] == list(vae.feature_names_in_)
    frame = vae.columns_.to_frame()
    for row, kind, likelihood in zip(
        rows, frame["kind"], frame["likelihood"].fillna("constant"), strict=True
    ):
        assert kind in row
        assert likelihood in row
    cells = Cells(vae.summary()._repr_html_()).cells
    assert (
        dict(zip(cells[::2], cells[1::2], strict=False))["Held-out"] == text["Held-out"]
    )
    for name, kind in frame["kind"].items():
        assert cells[cells.index(name) + 1] == kind


def test_best_epoch_has_the_best_score(numbers):
    vae = VAETransformer(1, density="joint", random_state=0, max_epochs=8, lr=0.02)
    training = vae.fit(numbers).summary().to_dict()["training"]
    scores = vae.validation_scores_
    best = training["best_epoch"]
    if best:
        assert scores[best - 1] == max(scores)
    assert training["epochs"] == {"all": vae.n_iter_}


def test_score_before_training_is_that_of_no_training(numbers):
    parameters = {"density": "joint", "random_state": 0}
    start = VAETransformer(1, max_epochs=0, **parameters).fit(numbers)
    held_out = start.summary().to_dict()["held_out"]
    training = start.summary().to_dict()["training"]
    assert training["best_epoch"] == 0
    assert training["end"] == "max_epochs=0"
    assert training["epochs"] == {}
    trained = VAETransformer(1, max_epochs=2, **parameters).fit(numbers)
    found = trained.summary().to_dict()["held_out"]
    assert found["before_training"] == held_out["before_training"]
    assert found["score"] >= found["before_training"]
    assert "no epochs" in repr(start.summary())


def test_only_elbos_are_called_so(numbers):
    def get(**parameters):
        vae = VAETransformer(1, **QUICK, **parameters).fit(numbers)
        assert (
            vae.summary().to_dict()["held_out"]["score"] == vae.best_validation_score_
        )
        return vae.summary().to_dict()["held_out"]["what"], repr(vae.summary())

    assert get(density="joint")[0] == "ELBO"
    assert get(objective="iwae")[0] == "IWAE"
    what, text = get(density=None)
    assert what == "reconstruction"
    assert "nats per row (" not in text


def test_without_held_out_rows_there_is_no_score(numbers):
    vae = VAETransformer(1, early_stopping=False, **QUICK).fit(numbers)
    facts = vae.summary().to_dict()
    assert facts["held_out"]["score"] is None
    assert facts["training"]["best_epoch"] is None
    assert "no rows were held out" in repr(vae.summary())


# how training ended -------------------------------------------------------------------


class Stopper(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise self.error


def fit_until(X, **parameters):
    options = {"density": "joint", "random_state": 0, "hidden_layer_sizes": (4,)}
    vae = VAETransformer(1, **options | parameters)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            vae.fit(X)
    except KeyboardInterrupt:
        pass
    return vae, vae.summary().to_dict()["training"]["end"]


def test_the_end_of_training_is_told(numbers):
    assert fit_until(numbers, max_epochs=2)[1] == "max_epochs=2"
    stopped = fit_until(numbers, n_iter_no_change=4, lr=1e-9, objective="iwae")[1]
    assert stopped == "no better held-out score in 4 epochs"
    with_callback = [Stopper(StopTraining())]
    assert fit_until(numbers, net_callbacks=with_callback)[1] == "a callback"
    of_skorch = [EarlyStopping(patience=1, threshold=10.0, threshold_mode="abs")]
    assert fit_until(numbers, net_callbacks=of_skorch)[1] == "a callback"
    vae, end = fit_until(numbers, net_callbacks=[Stopper(KeyboardInterrupt())])
    assert (end, vae.n_iter_) == ("interrupted", 2)
    diverged = fit_until(numbers, lr=1e12, init="random", optimizer="sgd")
    assert diverged[1] == "the loss turned non-finite"


def test_a_falling_score_is_told(numbers):
    rows = np.random.default_rng(0).normal(size=(60, 12))
    _, end = fit_until(
        rows, lr=0.05, hidden_layer_sizes=(64,), weight_decay=0.0, init="random"
    )
    found = re.fullmatch(r"a falling held-out score, (\d) epochs in a row", end)
    assert int(found[1]) == 3


def test_warnings_of_the_fit_are_kept_whatever_the_filters(numbers):
    rows = np.random.default_rng(0).normal(size=(100, 3))
    options = {"density": "joint", "max_epochs": 2, "random_state": 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae = VAETransformer(3, **options).fit(rows)
    told = [f"{w.category.__name__}: {w.message}" for w in caught]
    assert any(name.startswith("UnusedComponentsWarning") for name in told)
    assert vae.summary().to_dict()["warnings"] == told
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae.fit(rows)
        assert vae.summary().to_dict()["warnings"] == told
        # those of other calls are none of the fit
        vae.transform(rows)
    assert read_text(vae.summary())[0]["Warning"].startswith(told[0][:60])
    assert (
        vae.set_params(n_components=1).fit(numbers).summary().to_dict()["warnings"]
        == []
    )


# estimators ---------------------------------------------------------------------------


def test_detector_tells_its_threshold(detector, numbers):
    facts = detector.summary().to_dict()["outliers"]
    assert facts["offset"] == detector.offset_
    assert facts["contamination"] == 0.1
    assert facts["score_method"] == "pooled"
    assert facts["flagged_share"] == (detector.predict(numbers) == -1).mean()
    assert facts["n_trimmed"] == detector.trimmed_.sum()
    assert facts["n_calibration"] == len(detector.calibration_scores_)
    line = read_text(detector.summary())[0]["Outliers"]
    assert line.startswith(f"threshold {detector.offset_:.4g} nats (pooled)")
    assert "outliers" not in VAETransformer(1, **QUICK).fit(numbers).summary().to_dict()


def test_ensembles_tell_their_members(numbers):
    vae = VAETransformer(1, n_ensemble=3, density="joint", **QUICK).fit(numbers)
    networks = vae.summary().to_dict()["networks"]
    assert networks["n_members"] == 3
    one = sum(p.numel() for p in vae.net_.module_.parameters())
    assert networks["n_weights"] == one
    assert "3 members" in repr(vae.summary())


def test_streams_add_up_rows_and_seconds(numbers):
    vae = VAEOutlierDetector(1, random_state=0)
    seconds = 0.0
    for n_calls in range(1, 4):
        vae.partial_fit(numbers[:40])
        facts = vae.summary().to_dict()
        assert facts["n_rows"] == 40 * n_calls
        assert facts["training"]["seconds"] > seconds
        seconds = facts["training"]["seconds"]
    assert facts["training"]["epochs"] == {"all": 3}
    assert facts["training"]["end"] == "one pass per chunk"
    assert facts["outliers"]["flagged_share"] is None


def test_epochs_that_a_stream_has_dropped_count(numbers):
    vae = VAETransformer(1, random_state=0, hidden_layer_sizes=(2,))
    for _ in range(12):
        vae.partial_fit(numbers[:20])
    assert len(vae.history_) == 20
    assert vae.summary().to_dict()["training"]["epochs"] == {"map": 12, "density": 12}


def test_warm_starts_count_rows_of_the_last_call(numbers):
    vae = VAETransformer(1, warm_start=True, **QUICK).fit(numbers)
    first = vae.summary().to_dict()
    second = vae.fit(numbers[:60]).summary().to_dict()
    assert (first["n_rows"], second["n_rows"]) == (120, 60)
    assert second["training"]["epochs"] == {"map": 6, "density": 6}
    assert second["training"]["seconds"] > first["training"]["seconds"]


def test_sparse_tables_and_images(numbers):
    X = scipy.sparse.random_array((80, 30), density=0.2, rng=0, dtype=np.float64)
    X.data = np.ceil(9 * X.data)
    facts = VAETransformer(1, **QUICK).fit(X.tocsr()).summary().to_dict()
    assert facts["columns"]["n_columns"] == 30
    assert facts["columns"]["likelihoods"] == {"NegativeBinomial": 30}
    images = np.random.default_rng(0).random((40, 1, 4, 4))
    vae = VAETransformer(1, image_shape=(1, 4, 4), max_epochs=1, random_state=0)
    vae.fit(images)
    assert vae.summary().to_dict()["columns"]["image_shape"] == [1, 4, 4]
    assert "images of 1 x 4 x 4" in repr(vae.summary())


def test_constant_tables_have_no_likelihood(numbers):
    with pytest.warns(UnusedComponentsWarning):
        vae = VAETransformer(1, **QUICK).fit(np.ones((30, 3)))
    columns = vae.summary().to_dict()["columns"]
    assert (columns["likelihoods"], columns["n_constant"]) == ({}, 3)


def test_thousands_of_columns_are_shortened():
    X = np.random.default_rng(0).normal(size=(30, 2000))
    options = {"max_epochs": 1, "random_state": 0, "hidden_layer_sizes": (2,)}
    summary = VAETransformer(1, density=None, **options).fit(X).summary()
    lines = repr(summary).split("\n")
    assert len(lines) < 40
    assert max(map(len, lines)) <= 88
    assert "1,988 more columns" in lines[-1]
    assert len(summary._repr_html_()) < 10_000


# what is shown ------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><img src=x onerror=alert(1)>",
    "line\nbreak\r\x1b[31mred\x1b[0m",
    "'\"&amp;" + "x" * 5000,
    "\u202eright to left",
]


def test_hostile_names_are_harmless(numbers):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 5)), columns=HOSTILE)
    X[HOSTILE[0]] = np.random.default_rng(0).choice(["<b>", "</table>"], 40)
    summary = VAETransformer(1, **QUICK).fit(X).summary()
    text = repr(summary)
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.split("\n"))) <= 110
    shown = summary._repr_html_()
    parsed = Cells(shown)
    assert not {"script", "img", "b"} & set(parsed.tags)
    plain = Cells(VAETransformer(1, **QUICK).fit(numbers).summary()._repr_html_())
    known = {"div", "style", "strong", "table", "tr", "th", "td", "details", "summary"}
    assert set(parsed.tags) == set(plain.tags) == known
    assert html.escape(HOSTILE[0], quote=False) in html.unescape(
        html.escape(shown, quote=False)
    )


def test_names_need_not_be_texts(numbers):
    X = pd.DataFrame(numbers)
    rows = read_text(VAETransformer(1, **QUICK).fit(X).summary())[1]
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3"]


def test_summary_does_not_change_with_the_estimator(vae, numbers):
    other = copy.deepcopy(vae)
    summary = other.summary()
    before, facts = repr(summary), summary.to_dict()
    facts["columns"]["kinds"].clear()
    other.fit(pd.DataFrame(numbers))
    assert repr(summary) == before
    assert summary.to_dict()["columns"]["kinds"]


def test_copies_pickles_and_files_say_the_same(vae, detector, tmp_path):
    for estimator in (vae, detector):
        skvae.save(estimator, tmp_path / "model")
        copies = [
            copy.deepcopy(estimator),
            pickle.loads(pickle.dumps(estimator)),
            skvae.load(tmp_path / "model"),
        ]
        for other in copies:
            assert repr(other.summary()) == repr(estimator.summary())
            assert other.summary().to_dict() == estimator.summary().to_dict()


def test_a_pickle_grows_by_a_few_hundred_bytes(vae):
    other = copy.deepcopy(vae)
    size = len(pickle.dumps(other))
    del other._fit_record
    assert size - len(pickle.dumps(other)) < 500


def test_models_of_earlier_versions_leave_out_what_they_do_not_know(vae):
    other = copy.deepcopy(vae)
    del other._fit_record
    del dict(other.net_.callbacks_)["best_weights"].start_loss_
    facts = other.summary().to_dict()
    assert facts["n_rows"] is facts["training"]["seconds"] is None
    assert facts["held_out"]["before_training"] is None
    text = repr(other.summary())
    assert "None" not in text
    assert "Versions" not in text
    assert "None" not in other.summary()._repr_html_()


@pytest.mark.parametrize("sizes", [7, [7], np.array([7])], ids=["int", "list", "array"])
def test_sizes_and_shares_of_any_type_are_plain_numbers(sizes, numbers):
    options = {"max_epochs": 1, "random_state": 0, "contamination": np.float32(0.1)}
    model = VAEOutlierDetector(1, hidden_layer_sizes=sizes, **options).fit(numbers)
    facts = json.loads(json.dumps(model.summary().to_dict()))
    assert facts["networks"]["hidden_layer_sizes"] == [7]
    assert facts["outliers"]["contamination"] == pytest.approx(0.1)


def test_networks_of_ones_own_are_named(numbers):
    class Odd(MLP):
        def __init__(self):
            super().__init__((3,))
            self.hidden_layer_sizes = (3,)

        def __repr__(self):
            return "<b>odd</b>"

    options = {"density": "joint", "max_epochs": 1, "random_state": 0}
    vae = VAETransformer(1, network=Odd(), **options).fit(numbers)
    assert vae.summary().to_dict()["networks"]["network"] == "Odd"
    assert "<b>" not in vae.summary()._repr_html_()


def test_a_failed_fit_leaves_the_summary(vae, table):
    other = copy.deepcopy(vae)
    before = repr(other.summary())
    with pytest.raises(ValueError, match="positive"):
        other.fit(table, sample_weight=np.zeros(len(table)))
    assert repr(other.summary()) == before


def test_only_fitted_estimators_have_one():
    with pytest.raises(NotFittedError):
        VAETransformer().summary()


def test_display_of_scikit_learn_stays(vae, numbers):
    assert "VAETransformer" in vae._repr_html_()
    pipe = make_pipeline(StandardScaler(), VAETransformer(1, **QUICK)).fit(numbers)
    assert "Pipeline" in pipe._repr_html_()
    assert "skvae-summary" not in pipe._repr_html_()
    assert math.isfinite(pipe[-1].summary().to_dict()["held_out"]["score"])
