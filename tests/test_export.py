"""Files of ONNX compute what the estimators do, without this package."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from likelihood_cases import delete, make_rows

from skvae import VAEOutlierDetector, VAETransformer
from skvae.datasets import make_mixed
from skvae.export import register_skl2onnx, to_onnx, to_torch
from skvae.latents import Categorical, Gaussian, Hierarchical
from skvae.likelihoods import LIKELIHOODS, Autoregressive
from skvae.networks import Network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FAST = {
    "n_components": 2,
    "max_epochs": 1,
    "hidden_layer_sizes": (6,),
    "early_stopping": False,
    "random_state": 0,
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.UnusedComponentsWarning", "ignore::skvae.UnlikelyLevelsWarning"
)
METHODS = "transform", "score_samples", "reconstruct"


def open_session(model):
    """Return a session of onnxruntime, which is what takes time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model, X):
    """Return the outputs of a model of ONNX for an array or data frame."""
    session = open_session(model)
    return session.run(None, make_feed(session, X))


def make_feed(session, X):
    """Return the inputs of a session by name."""
    if isinstance(X, np.ndarray):
        return {session.get_inputs()[0].name: X}
    return {
        given.name: make_column(X[given.name], given.type)
        for given in session.get_inputs()
    }


def make_column(column, kind):
    """Return a column of a data frame as the tensor that ONNX takes."""
    if kind == "tensor(string)":
        cells = column.astype(object).where(column.notna(), "").to_numpy(object)
    elif kind in ("tensor(int64)", "tensor(bool)"):
        cells = column.to_numpy()
    else:
        dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[kind]
        cells = column.to_numpy(dtype, na_value=np.nan)
    return cells.reshape(-1, 1)


def test_the_feed_of_the_user_guide_suits_every_kind_of_column():
    page = Path(__file__).parent.parent / "docs" / "user_guide" / "serving.md"
    (code,) = re.findall(
        r"```python\n(import numpy as np\n.*?)```", page.read_text(), re.S
    )
    names = {}
    exec(code, names)
    frame = make_mixed(120, missing=0.1, random_state=0)
    generator = np.random.default_rng(0)
    frame["single"] = generator.standard_normal(120).astype(np.float32)
    frame["short"] = generator.integers(0, 40, 120).astype(np.int32)
    frame["flag"] = generator.integers(0, 2, 120).astype(bool)
    frame["code"] = pd.Categorical(generator.integers(0, 3, 120))
    vae = VAETransformer(**FAST).fit(frame)
    session = open_session(to_onnx(vae))
    assert len({given.type for given in session.get_inputs()}) == 5
    (found,) = session.run(None, names["make_feed"](session, frame))
    assert_equal(found, vae.transform(frame))


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape


def check(estimator, X, methods=METHODS):
    """Compare methods of an estimator with those of its files, for some sizes."""
    for method in methods:
        session = open_session(to_onnx(estimator, method=method))
        expected = getattr(estimator, method)(X)
        for rows in (slice(0, 1), slice(1, 2), slice(None)):
            (found,) = session.run(None, make_feed(session, X[rows]))
            assert_equal(found, expected[rows])


def make_incomplete(name, n_features=3):
    """Return rows for a likelihood, and the same with missing cells from row 1 on."""
    X = make_rows(name, 60, n_features)
    incomplete = delete(X, 0.2)
    incomplete[0], incomplete[1] = X[0], np.nan
    return X, incomplete


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_file_computes_what_the_estimator_does(name):
    X, incomplete = make_incomplete(name)
    model = VAETransformer(likelihood=name, **FAST).fit(X)
    if name == "transformed":
        check(model, incomplete, METHODS[:2])
        with pytest.raises(ValueError, match="means are integrals"):
            to_onnx(model, method="reconstruct")
    else:
        check(model, incomplete)


@pytest.mark.parametrize(
    "latent",
    [
        Gaussian(prior="standard", prior_scale=3.0),
        Gaussian(prior="vamp", n_mixture=5),
        Gaussian(covariance="full"),
        Gaussian(covariance="full", prior="vamp", n_mixture=5),
        Categorical(n_categories=2),
        Categorical(embedding="onehot"),
        Hierarchical(),
        Hierarchical(inference="bottom_up"),
    ],
    ids=repr,
)
def test_file_has_every_latent(latent):
    X, incomplete = make_incomplete("gaussian")
    model = VAETransformer(
        likelihood="gaussian", latent=latent, **FAST | {"n_components": 4}
    )
    check(model.fit(X), incomplete)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"density": None},
        {"density": "joint"},
        {"hidden_layer_sizes": ()},
        {"standardize": False},
        {"init": "random"},
        {"activation": "gelu", "init": "random", "density": None},
        {"activation": "elu", "init": "random", "density": None},
        {"activation": "leaky_relu", "init": "random", "density": None},
        {"activation": "softplus", "init": "random", "density": None},
        {"activation": "relu", "dropout": 0.2, "density": None},
        {"n_ensemble": 2},
        {"likelihood": Autoregressive("gaussian")},
    ],
    ids=repr,
)
def test_file_has_every_setting(parameters):
    X, incomplete = make_incomplete("gaussian")
    X[:, 2] = 7.0
    model = VAETransformer(**FAST | parameters)
    check(model.fit(incomplete if "init" in parameters else X), incomplete)


def test_file_has_a_density_that_learned_from_incomplete_rows():
    _, incomplete = make_incomplete("gaussian")
    model = VAETransformer(**FAST | {"max_epochs": 20, "early_stopping": False})
    model.fit(incomplete)
    module = model.net_.module_
    assert (module.encoder_head.weight != 0).any()
    check(model, incomplete)


def list_graphs(graph):
    """Return a graph and those inside it."""
    inside = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [graph, *(found for each in inside for found in list_graphs(each))]


@pytest.mark.parametrize("latent", [Gaussian(), Hierarchical()], ids=repr)
def test_nodes_are_such_that_older_versions_do_not_fuse_them_wrongly(latent):
    _, incomplete = make_incomplete("gaussian")
    vae = VAETransformer(latent=latent, **FAST).fit(incomplete)
    nodes = []
    for graph in list_graphs(to_onnx(vae, method="score_samples").graph):
        kinds = {name: node.op_type for node in graph.node for name in node.output}
        for node in graph.node:
            # all that is transposed is of doubles here
            if node.op_type == "MatMul":
                assert "Transpose" not in map(kinds.get, node.input)
        nodes += graph.node
    names = [node.name for node in nodes]
    assert all(names)
    assert len(set(names)) == len(names)
    assert {"MatMul", "Transpose", "Einsum"} <= {node.op_type for node in nodes}


def make_frame(n_samples=60):
    """Return a data frame with columns of every kind, some cells missing."""
    generator = np.random.default_rng(0)
    number = np.arange(n_samples)
    frame = pd.DataFrame(
        {
            "age": generator.normal(40, 10, n_samples),
            "weight": generator.normal(0, 1, n_samples).astype(np.float32),
            "visits": generator.poisson(3, n_samples),
            "smokes": generator.random(n_samples) < 0.4,
            "city": generator.choice(["Bern", "Genève", "x y"], n_samples),
            "grade": pd.Categorical(
                generator.choice(["low", "high"], n_samples),
                categories=["low", "mid", "high"],
                ordered=True,
            ),
            "code": pd.Categorical(generator.choice([10, 20, 35], n_samples)),
            "v1": 3.5,
        }
    )
    frame.loc[::7, "age"], frame.loc[::11, "city"] = np.nan, None
    hidden = np.where(number % 9 == 0, None, number % 2 == 0)
    frame["member"] = pd.array(hidden, dtype="boolean")
    hidden = np.where(number % 8 == 0, None, number % 5)
    frame["transform"] = pd.array(hidden, dtype="Int64")
    return frame


@pytest.mark.filterwarnings("ignore::skvae.UnknownCategoriesWarning")
@pytest.mark.parametrize("density", ["after", "joint"])
def test_file_of_a_data_frame_has_an_input_for_each_column(density):
    frame = make_frame()
    model = VAETransformer(density=density, **FAST).fit(frame)
    rows = frame.copy()
    rows.loc[3, "city"] = "another one"
    for method in ("transform", "score_samples"):
        file = to_onnx(model, method=method)
        assert [given.name for given in file.graph.input] == list(frame.columns)
        (found,) = run(file, rows)
        assert_equal(found, getattr(model, method)(rows))
    columns = run(to_onnx(model, method="reconstruct"), rows)
    expected = model.reconstruct(rows)
    for found, name in zip(columns, expected, strict=True):
        column = expected[name]
        if found.dtype in (object, bool):
            assert found.ravel().tolist() == column.tolist()
        else:
            np.testing.assert_allclose(
                found.ravel(), column.to_numpy(float), rtol=1e-5, atol=1e-5
            )


@pytest.mark.filterwarnings("ignore::skvae.UnknownCategoriesWarning")
def test_file_of_a_detector_has_scores_threshold_and_unknown_levels():
    frame = make_frame()
    detector = VAEOutlierDetector(**FAST).fit(frame)
    rows = frame.copy()
    rows.loc[3, "city"], rows.loc[4, "grade"], rows.loc[5, "city"] = "new", "mid", None
    for method in ("score_samples", "decision_function", "predict"):
        (found,) = run(to_onnx(detector, method=method), rows)
        assert_equal(found, getattr(detector, method)(rows))
    assert detector.predict(rows)[3:5].tolist() == [-1, -1]


@pytest.mark.filterwarnings("ignore::skvae.UnknownCategoriesWarning")
@pytest.mark.parametrize("score_method", ["pooled", "tempered"])
def test_file_takes_unknown_levels_where_nothing_is_missing(score_method):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["u", "v"], 60)})
    detector = VAEOutlierDetector(score_method=score_method, **FAST).fit(frame)
    rows = frame.copy()
    rows.loc[3, "b"] = "new"
    for some in (rows, frame):
        (found,) = run(to_onnx(detector, method="score_samples"), some)
        assert_equal(found, detector.score_samples(some))


def test_file_has_the_distances_of_rows_far_out_and_of_equal_rows():
    X = np.random.default_rng(0).normal(size=(40, 3))
    far = X[:6].copy()
    far[:, 1] = 10.0 ** np.array([3, 9, 25, 30, 31, 80])
    detector = VAEOutlierDetector(trim=None, **FAST).fit(X)
    check(detector, far, ["score_samples"])
    equal = np.repeat(X[:3], 20, axis=0)
    check(detector.fit(equal), equal, ["score_samples"])


@pytest.mark.parametrize("method", ["elbo", "evidence", "reconstruction"])
def test_file_has_the_score_method_of_the_detector(method):
    X, incomplete = make_incomplete("gaussian")
    detector = VAEOutlierDetector(score_method=method, **FAST).fit(X)
    check(detector, incomplete, ["decision_function"])


def test_file_takes_and_returns_the_types_at_fit():
    X, _ = make_incomplete("gaussian")
    single = VAETransformer(**FAST).fit(X.astype(np.float32))
    check(single, X.astype(np.float32))
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        run(to_onnx(single), X)


def test_file_of_images_has_convolutions_and_pixels():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    model = VAETransformer(
        image_shape=(1, 8, 8), likelihood="discretized_logistic", **FAST
    )
    check(model.fit(images), images)


def test_refused_rows_have_no_result():
    X, _ = make_incomplete("poisson")
    model = VAETransformer(likelihood="poisson", **FAST).fit(X)
    bad = X[:4].copy()
    bad[0, 0], bad[1, 1], bad[2, 2] = -1, 2.5, np.inf
    for method in METHODS:
        (found,) = run(to_onnx(model, method=method), bad)
        is_nan = np.isnan(found.reshape(4, -1)).all(axis=1)
        assert is_nan.tolist() == [True, True, True, False]


def test_levels_that_an_array_did_not_have_are_no_places_in_a_table():
    X, _ = make_incomplete("categorical")
    model = VAETransformer(likelihood="categorical", **FAST).fit(X)
    bad = X[:2].copy()
    bad[0, 0] = 99
    (found,) = run(to_onnx(model), bad)
    assert np.isnan(found[0]).all()
    assert_equal(found[1:], model.transform(bad[1:]))


def test_file_of_complete_rows_is_smaller():
    X, _ = make_incomplete("gaussian")
    model = VAETransformer(**FAST).fit(X)
    small = to_onnx(model, method="score_samples", missing=False)
    assert small.ByteSize() < to_onnx(model, method="score_samples").ByteSize()
    assert_equal(run(small, X)[0], model.score_samples(X))


def test_file_tells_what_it_is(tmp_path):
    frame = make_frame()
    model = VAETransformer(**FAST).fit(frame)
    to_onnx(model, tmp_path / "model.onnx")
    with open(tmp_path / "open.onnx", "wb") as file:
        to_onnx(model, file)
    assert (tmp_path / "open.onnx").stat().st_size > 0
    loaded = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(loaded, full_check=True)
    known = {entry.key: entry.value for entry in loaded.metadata_props}
    assert (known["estimator"], known["method"]) == ("VAETransformer", "transform")
    assert json.loads(known["feature_names_in"]) == list(frame.columns)
    assert json.loads(known["feature_names_out"]) == [
        "vaetransformer0",
        "vaetransformer1",
    ]
    assert loaded.producer_name == "skvae"


@pytest.mark.parametrize("density", ["after", "joint"])
def test_file_has_the_scores_of_rows_far_out(density):
    X = np.exp(np.random.default_rng(0).normal(size=(200, 3)))
    vae = VAETransformer(2, max_epochs=3, density=density, random_state=0).fit(X)
    far = X[:4].copy()
    # beyond the squares, and then the numbers, of single precision
    far[1:, 0] = 1e3, 1e20, 1e100
    (found,) = run(to_onnx(vae, method="score_samples", missing=False), far)
    assert_equal(found, vae.score_samples(far))


def test_file_is_written_whole_and_where_files_can_be(tmp_path, monkeypatch):
    model = VAETransformer(**FAST).fit(make_rows("gaussian", 60, 3))
    path = tmp_path / "model.onnx"
    for wrong in (3, ["model.onnx"], True):
        with pytest.raises(TypeError, match=f"path must be .* {type(wrong).__name__}"):
            to_onnx(model, wrong)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        to_onnx(model, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder .*x does not exist"):
        to_onnx(model, tmp_path / "x" / "model.onnx")
    to_onnx(model, str(path))
    content = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        to_onnx(model, path, "score_samples")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_file_runs_without_the_package(tmp_path):
    X, _ = make_incomplete("gaussian")
    model = VAETransformer(**FAST).fit(X)
    to_onnx(model, tmp_path / "model.onnx", "score_samples")
    np.save(tmp_path / "X.npy", X)
    script = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession('model.onnx')\n"
        "(found,) = session.run(None, {'X': numpy.load('X.npy')})\n"
        "numpy.save('found.npy', found)\n"
        "assert not {'skvae', 'torch', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert_equal(np.load(tmp_path / "found.npy"), model.score_samples(X))


def test_graph_of_torch_computes_what_the_estimator_does(tmp_path):
    X, incomplete = make_incomplete("gaussian")
    model = VAETransformer(density=None, **FAST).fit(X)
    for method in ("transform", "score_samples"):
        graph = to_torch(model, method)
        torch.export.save(graph, tmp_path / "model.pt2")
        module = torch.export.load(tmp_path / "model.pt2").module()
        expected = getattr(model, method)(incomplete)
        for n in (1, 2, len(X)):
            found = module(torch.as_tensor(incomplete[:n]))
            assert_equal(found.numpy(), expected[:n])


@pytest.mark.filterwarnings("ignore::skvae.UnknownCategoriesWarning")
def test_graph_of_a_detector_takes_codes_and_runs_without_the_package(tmp_path):
    frame = make_frame()[["age", "city", "smokes"]]
    detector = VAEOutlierDetector(**FAST).fit(frame)
    rows = frame.copy()
    rows.loc[3, "city"] = "another one"
    levels = detector.columns_.kinds[1].levels
    codes = rows["city"].map({level: i for i, level in enumerate(levels)})
    # a level that fit has not seen is -1, a missing one NaN
    codes = codes.where(codes.notna() | rows["city"].isna(), -1)
    cells = [rows["age"], codes, rows["smokes"]]
    X = np.stack([cell.to_numpy(float) for cell in cells], axis=1)
    assert X[3, 1] == -1
    np.save(tmp_path / "X.npy", X)
    expected = {}
    for method in ("decision_function", "predict"):
        torch.export.save(to_torch(detector, method), tmp_path / f"{method}.pt2")
        expected[method] = getattr(detector, method)(rows)
    script = (
        "import sys, numpy, torch\n"
        "X = torch.as_tensor(numpy.load('X.npy'))\n"
        "for name in ('decision_function', 'predict'):\n"
        "    module = torch.export.load(name + '.pt2').module()\n"
        "    numpy.save(name, module(X).numpy())\n"
        "assert not {'skvae', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    for method, values in expected.items():
        assert_equal(np.load(tmp_path / f"{method}.npy"), values)
    assert expected["predict"][3] == -1


def test_what_cannot_be_exported_is_refused():
    X, _ = make_incomplete("gaussian")
    model = VAETransformer(**FAST)
    with pytest.raises(Exception, match="not fitted"):
        to_onnx(model)
    model.fit(X)
    with pytest.raises(ValueError, match=r"'transforms'.*did you mean 'transform'"):
        to_onnx(model, method="transforms")
    with pytest.raises(ValueError, match="'predict' of VAETransformer"):
        to_onnx(model, method="predict")
    with pytest.raises(ValueError, match="pass method='score_samples'"):
        to_onnx(model, "score_samples")
    with pytest.raises(TypeError, match=r"is not a VAETransformer.*skl2onnx"):
        to_onnx("model")
    detector = VAEOutlierDetector(score_method="refined", **FAST).fit(X)
    with pytest.raises(ValueError, match=r"'refined'.*set score_method='tempered'"):
        to_onnx(detector, method="predict")


def test_members_whose_missing_cells_follow_no_graph_are_refused():
    X, _ = make_incomplete("poisson")
    model = VAETransformer(likelihood=Autoregressive("poisson"), **FAST).fit(X)
    with pytest.raises(ValueError, match="missing=False"):
        to_onnx(model, method="score_samples")
    found = run(to_onnx(model, method="score_samples", missing=False), X)
    assert_equal(found[0], model.score_samples(X))


class Branching(torch.nn.Module):
    def forward(self, u):
        return u * 2 if u.sum() > 0 else u


class Wave(torch.nn.Module):
    def forward(self, u):
        return torch.special.bessel_j0(u)


class SizeBranching(torch.nn.Module):
    def forward(self, u):
        return u * 2 if u.shape[-2] > 100 else u * 3


def fit_own_network(body):
    """Return an estimator with a network of a layer, fitted."""

    class Own(Network):
        def make_encoder(self, n_inputs, n_copies=None):
            return body, n_inputs

        make_decoder = make_encoder

    X, _ = make_incomplete("gaussian")
    return VAETransformer(network=Own(), density=None, **FAST).fit(X)


@pytest.mark.parametrize(
    ("body", "message"), [(Branching, "torch.where"), (Wave, "bessel_j0")]
)
def test_networks_that_follow_no_graph_are_refused(body, message):
    with pytest.raises(ValueError, match=message):
        to_onnx(fit_own_network(body()), missing=False)


class Reading(torch.nn.Module):
    def forward(self, u):
        return u + torch.as_tensor(u.detach().numpy())


class Broken(torch.nn.Module):
    is_broken = False  # while it is fitted

    def forward(self, u):
        return u.no_such_name if self.is_broken else u * 2


@pytest.mark.parametrize("export", [to_onnx, to_torch])
def test_only_what_depends_on_values_is_said_to(export, monkeypatch):
    for body in (Branching(), Reading()):
        with pytest.raises(ValueError, match="depends on the values of the rows"):
            export(fit_own_network(body), missing=False)
    model = fit_own_network(Broken())
    monkeypatch.setattr(Broken, "is_broken", True)
    with pytest.raises(AttributeError, match="no_such_name"):
        export(model, missing=False)


@pytest.mark.parametrize("export", [to_onnx, to_torch])
def test_networks_that_depend_on_the_number_of_rows_are_refused(export):
    model = fit_own_network(SizeBranching())
    with pytest.raises(ValueError, match=r"number of rows, from aten\.mul"):
        export(model, missing=False)


def test_pipelines_are_converted_as_a_whole():
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    register_skl2onnx()
    X, _ = make_incomplete("gaussian")
    y = (X[:, 0] > 0).astype(int)
    model = VAETransformer(density=None, **FAST)
    pipe = make_pipeline(StandardScaler(), model).fit(X)
    for dtype in (np.float32, np.float64):
        rows = X.astype(dtype)
        (found,) = run(skl2onnx.to_onnx(pipe, rows[:1]), rows)
        np.testing.assert_allclose(found, pipe.transform(rows), rtol=1e-5, atol=1e-5)
    options = {id(pipe[-1]): {"method": "score_samples"}}
    (found,) = run(skl2onnx.to_onnx(pipe, X[:1], options=options), X)
    np.testing.assert_allclose(found, pipe.score_samples(X), rtol=1e-5, atol=1e-5)
    classifier = make_pipeline(StandardScaler(), model, LogisticRegression()).fit(X, y)
    file = skl2onnx.to_onnx(classifier, X[:1], options={"zipmap": False})
    label, chance = run(file, X)
    assert label.tolist() == classifier.predict(X).tolist()
    np.testing.assert_allclose(
        chance, classifier.predict_proba(X), rtol=1e-5, atol=1e-5
    )
    detector = make_pipeline(StandardScaler(), VAEOutlierDetector(**FAST)).fit(X)
    file = skl2onnx.to_onnx(detector, X[:1])
    # the score is in the file once
    assert [node.op_type for node in file.graph.node].count("If") == 1
    label, decision = run(file, X)
    assert label.tolist() == detector.predict(X).tolist()
    np.testing.assert_allclose(decision, detector.decision_function(X), atol=1e-5)
    with pytest.raises(ValueError, match="target_opset"):
        skl2onnx.to_onnx(pipe, X[:1], target_opset=15)


def test_newer_sets_of_operators_have_softplus_of_doubles():
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.pipeline import make_pipeline

    register_skl2onnx()
    words = np.random.default_rng(0).choice(["red", "green", "blue"], size=(60, 8))
    texts = np.array([" ".join(row) for row in words])
    pipe = make_pipeline(
        CountVectorizer(lowercase=False), VAEOutlierDetector(**FAST)
    ).fit(texts)
    kind = StringTensorType([None])
    file = skl2onnx.to_onnx(pipe, initial_types=[("X", kind)], target_opset=21)
    _, decision = run(file, texts)
    np.testing.assert_allclose(decision, pipe.decision_function(texts), atol=1e-5)


def test_pipelines_with_other_inputs_are_refused():
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    register_skl2onnx()
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = VAETransformer(density=None, **FAST).fit(X)

    def convert(*kinds):
        types = [(f"x{i}", kind) for i, kind in enumerate(kinds)]
        return skl2onnx.to_onnx(model, initial_types=types)

    (found,) = run(convert(FloatTensorType([None, None])), X.astype(np.float32))
    np.testing.assert_allclose(found, model.transform(X), atol=1e-4)
    with pytest.raises(ValueError, match=r"fitted to 4 columns.*\[5\]"):
        convert(FloatTensorType([None, 5]))
    with pytest.raises(ValueError, match="flatten images first"):
        convert(FloatTensorType([None, 1, 2, 2]))
    with pytest.raises(ValueError, match=r"'x0' .* is of strings"):
        convert(StringTensorType([None, 1]), FloatTensorType([None, 3]))


def test_columns_that_are_constant_have_their_density(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 4))
    X[:, 1] = 7.0
    vae = VAETransformer(density=None, **FAST).fit(X)
    new = X[:6].copy()
    new[2, 1], new[3, 1] = 7.1, 9.0
    (found,) = run(to_onnx(vae, None, "score_samples", missing=False), new)
    np.testing.assert_allclose(found, vae.score_samples(new), rtol=1e-5, atol=1e-5)
