"""Pickle, joblib and copy: what is fitted stays what it is, and stays small."""

import contextlib
import copy
import importlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skorch
import torch
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae._utils._description import _names
from skvae.likelihoods import Bernoulli, Gaussian
from skvae.objectives import IWAE

METHODS = ["elbo", "evidence", "reconstruction", "kl"]
ROUND_TRIPS = {
    "pickle": lambda vae, folder: pickle.loads(pickle.dumps(vae)),
    "deepcopy": lambda vae, folder: copy.deepcopy(vae),
    "joblib": lambda vae, folder: joblib.load(joblib.dump(vae, folder / "vae")[0]),
}
SCORE_IN_ANOTHER_PROCESS = """
import sys
import joblib
import numpy as np
import torch
torch.set_num_threads(1)
vae, X = joblib.load(sys.argv[1])
answers = {"score": vae.score_samples(X), "z": vae.transform(X)}
np.savez(sys.argv[2], **answers, drawn=vae.sample(5, random_state=0))
"""


def assert_equal(one, two, X):
    np.testing.assert_array_equal(one.transform(X), two.transform(X))
    for method in METHODS:
        np.testing.assert_array_equal(
            one.score_samples(X, method), two.score_samples(X, method)
        )
    np.testing.assert_array_equal(
        one.sample(5, random_state=0), two.sample(5, random_state=0)
    )


@pytest.mark.parametrize("way", ROUND_TRIPS)
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_layer_sizes": (), "likelihood": Gaussian("shared")},
        {"init": "random", "early_stopping": False, "kl_warmup": 0.5},
        {"warm_start": True, "net_callbacks": [Callback()], "verbose": 1},
    ],
    ids=["default", "linear", "random", "warm"],
)
def test_round_trip_changes_nothing(way, params, quick, X, tmp_path):
    vae = quick(**params).fit(X)
    twin = ROUND_TRIPS[way](vae, tmp_path)
    assert_equal(vae, twin, X)
    # no pickle has the model that calls keep
    for name, value in vae.__getstate__().items():
        assert name in twin.__getstate__()
        if isinstance(value, (np.ndarray, float, int, str, tuple)):
            np.testing.assert_array_equal(twin.__getstate__()[name], value)
    assert twin.history_ is twin.net_.history
    assert twin.history_[:, "train_loss"] == vae.history_[:, "train_loss"]


@pytest.mark.parametrize("way", ROUND_TRIPS)
def test_unfitted_estimator_makes_the_round_trip(way, X, tmp_path):
    vae = VAETransformer(3, likelihood=Bernoulli(), random_state=0)
    twin = ROUND_TRIPS[way](vae, tmp_path)
    assert repr(twin) == repr(vae)
    assert not hasattr(twin, "net_")


def test_another_process_gives_the_same_bits(fitted, X, tmp_path):
    joblib.dump((fitted, X), tmp_path / "vae")
    answers = tmp_path / "answers.npz"
    root = str(Path(skvae.__file__).parents[1])
    subprocess.run(
        [
            *(sys.executable, "-W", "error", "-c", SCORE_IN_ANOTHER_PROCESS),
            *(str(tmp_path / "vae"), str(answers)),
        ],
        check=True,
        cwd=root,
    )
    with np.load(answers) as other:
        np.testing.assert_array_equal(other["score"], fitted.score_samples(X))
        np.testing.assert_array_equal(other["z"], fitted.transform(X))
        np.testing.assert_array_equal(other["drawn"], fitted.sample(5, random_state=0))


@pytest.mark.parametrize("sizes", [(), (128, 128), (256, 256)])
def test_file_is_hardly_larger_than_the_weights(sizes, quick, X):
    vae = quick(hidden_layer_sizes=sizes).fit(X)
    state = vae.net_.module_.state_dict().values()
    n_bytes = sum(value.nbytes for value in state)
    assert len(pickle.dumps(vae)) < 1.3 * n_bytes + 60_000


def test_file_does_not_grow_with_the_table(quick, X):
    small = quick(hidden_layer_sizes=()).fit(X)
    large = quick(hidden_layer_sizes=()).fit(np.repeat(X, 20, axis=0))
    assert len(pickle.dumps(large)) < len(pickle.dumps(small)) + 2000


def test_state_of_the_optimizer_is_kept_only_where_training_goes_on(quick, X):
    assert not quick().fit(X).net_.optimizer_.state
    for vae in (quick(warm_start=True).fit(X), quick().partial_fit(X)):
        assert vae.net_.optimizer_.state
        twin = pickle.loads(pickle.dumps(vae))
        assert len(twin.net_.optimizer_.state) == len(vae.net_.optimizer_.state)


def test_training_goes_on_after_a_round_trip_as_without_one(quick, X):
    vae = quick(warm_start=True, random_state=0).fit(X)
    twin = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(
        vae.fit(X).score_samples(X), twin.fit(X).score_samples(X)
    )
    vae = quick().partial_fit(X)
    twin = copy.deepcopy(vae)
    np.testing.assert_array_equal(
        vae.partial_fit(X).score_samples(X), twin.partial_fit(X).score_samples(X)
    )


@pytest.mark.filterwarnings("error")
def test_files_that_are_mapped_to_memory_give_the_same_bits(fitted, X, tmp_path):
    path = joblib.dump(fitted, tmp_path / "vae")[0]
    mapped = joblib.load(path, mmap_mode="r")
    assert isinstance(mapped.columns_.unit, np.memmap)
    always = torch.is_warn_always_enabled()
    # otherwise torch warns of arrays that are read-only only once
    torch.set_warn_always(True)
    try:
        assert_equal(mapped, fitted, X)
        mapped.partial_fit(X)
    finally:
        torch.set_warn_always(always)


def test_copy_is_independent_of_the_original(quick, X):
    vae = quick(warm_start=True, early_stopping=False).fit(X)
    scores = vae.score_samples(X)
    twin = copy.deepcopy(vae)
    twin.fit(X)
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    assert not np.array_equal(twin.score_samples(X), scores)


def test_frames_come_back_after_a_round_trip(quick, X):
    frame = pd.DataFrame(X, columns=list("abcdef")).astype({"b": "float32"})
    vae = quick(hidden_layer_sizes=()).fit(frame)
    twin = pickle.loads(pickle.dumps(vae))
    pd.testing.assert_frame_equal(twin.reconstruct(frame), vae.reconstruct(frame))
    assert list(twin.feature_names_in_) == list("abcdef")


def test_net_is_a_fitted_net_of_skorch_that_clones(fitted):
    assert isinstance(fitted.net_, skorch.NeuralNet)
    assert fitted.net_.initialized_
    twin = clone(fitted.net_)
    assert isinstance(twin, type(fitted.net_))
    assert twin.get_params()["lr"] == fitted.lr
    assert not twin.initialized_


def test_net_makes_the_round_trip_by_itself(fitted):
    twin = pickle.loads(pickle.dumps(fitted.net_))
    ours = dict(fitted.net_.module_.named_parameters())
    for name, parameter in twin.module_.named_parameters():
        np.testing.assert_array_equal(
            parameter.detach().numpy(), ours[name].detach().numpy()
        )
    clone(twin)


def test_weights_can_be_saved_by_skorch(fitted, quick, X, tmp_path):
    path = tmp_path / "weights.pt"
    fitted.net_.save_params(f_params=str(path))
    other = copy.deepcopy(fitted)
    for parameter in other.net_.module_.parameters():
        parameter.data.add_(1)
    other.net_.load_params(f_params=str(path))
    np.testing.assert_array_equal(other.score_samples(X), fitted.score_samples(X))


@pytest.mark.parametrize("name", ["VAETransformer", "VAEOutlierDetector"])
@pytest.mark.parametrize("way", ROUND_TRIPS)
def test_another_version_is_warned_of(way, name, monkeypatch, tmp_path):
    vae = getattr(skvae, name)(3)
    monkeypatch.setattr(skvae, "__version__", "0.0.7")
    state = vae.__getstate__()
    dumped = pickle.dumps(vae)
    twin = ROUND_TRIPS[way](vae, tmp_path)
    assert vars(twin) == vars(vae)
    monkeypatch.setattr(skvae, "__version__", "0.0.8")
    expected = rf"{name} was pickled by skvae 0.0.7 and is loaded by skvae 0.0.8; .*"
    with pytest.warns(InconsistentVersionWarning, match=expected) as found:
        pickle.loads(dumped)
    assert found[0].category is skvae.InconsistentVersionWarning
    assert found[0].filename == __file__
    del state["_skvae_version"]
    with pytest.warns(InconsistentVersionWarning, match="is not known"):
        twin.__setstate__(state)
    assert clone(twin).n_components == 3


@pytest.mark.parametrize("name", ["VAETransformer", "VAEOutlierDetector"])
def test_another_version_of_scikit_learn_is_warned_of(name, monkeypatch):
    vae = getattr(skvae, name)(3)
    monkeypatch.setattr(sklearn, "__version__", "0.0.7")
    dumped = pickle.dumps(vae)
    monkeypatch.undo()
    match = rf"unpickle estimator {name} from version 0\.0\.7 .* {sklearn.__version__}"
    with pytest.warns(InconsistentVersionWarning, match=match) as found:
        twin = pickle.loads(dumped)
    assert [w.category for w in found] == [InconsistentVersionWarning]
    assert found[0].filename == __file__
    assert vars(twin) == vars(vae)


@pytest.mark.filterwarnings("ignore::skvae.InconsistentVersionWarning")
def test_pickles_of_an_earlier_form_are_not_called_damaged(fitted):
    match = "VAETransformer is of another version of skvae; load it with the version"
    for state in ({"n_components": 2}, {"_digest": "0", **vars(fitted)}, {}):
        with pytest.raises(ValueError, match=match):
            object.__new__(VAETransformer).__setstate__(state)


def test_pickles_without_later_attributes_give_the_same_scores(X):
    detector = VAEOutlierDetector(2, max_epochs=1, random_state=0).fit(X)
    scores = detector.score_samples(X)
    del detector._levels
    for module in detector.net_.module_.modules():
        vars(module).pop("copies_inputs", None)
    twin = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(twin.score_samples(X), scores)


def dump_by_joblib(vae):
    file = io.BytesIO()
    joblib.dump(vae, file)
    return file.getvalue()


def load_by_joblib(whole):
    return joblib.load(io.BytesIO(whole))


FORMATS = {
    "pickle": (pickle.dumps, pickle.loads),
    "joblib": (dump_by_joblib, load_by_joblib),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("cls", [VAETransformer, VAEOutlierDetector])
def test_damaged_files_give_no_other_numbers(cls, name, X):
    save, load = FORMATS[name]
    vae = cls(2, max_epochs=1, hidden_layer_sizes=(8,), random_state=0).fit(X)
    whole, scores = save(vae), vae.score_samples(X)
    np.testing.assert_array_equal(load(whole).score_samples(X), scores)
    module = vae.net_.module_
    for weight in (module.decoder_head.weight, module.linear_start.log_range):
        place = whole.find(weight.detach().numpy().tobytes()[:12])
        assert place > 0
        damaged = bytearray(whole)
        damaged[place] ^= 1
        with pytest.raises(ValueError, match=f"file of this {cls.__name__} is damaged"):
            load(bytes(damaged))


def test_a_damaged_weight_is_named(fitted):
    state = fitted.__getstate__()
    twin = copy.deepcopy(fitted)
    with torch.no_grad():
        twin.net_.module_.decoder_head.weight.view(-1)[0] += 1e-6
    state["net_"] = twin.net_
    with pytest.raises(ValueError, match="file of this VAETransformer is damaged"):
        object.__new__(VAETransformer).__setstate__(state)


def test_damaged_compressed_files_are_refused(fitted, tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(fitted, path, compress=3)
    whole = path.read_bytes()
    generator, loaded = np.random.default_rng(0), []
    for copies in range(24):
        damaged, place = bytearray(whole), generator.integers(len(whole) - 64)
        if copies % 3 == 0:
            del damaged[place:]
        elif copies % 3 == 1:
            damaged[place] ^= int(generator.integers(1, 256))
        else:
            damaged[place : place + 64] = generator.bytes(64)
        path.write_bytes(damaged)
        with contextlib.suppress(Exception):
            loaded.append(joblib.load(path))
    assert loaded == []


# what skops lists, for fits of all kinds
SKOPS_CASES = {
    "transformer": (VAETransformer, {}),
    "detector": (VAEOutlierDetector, {"contamination": 0.1}),
    "warm": (VAETransformer, {"warm_start": True}),
    "ensemble": (VAETransformer, {"n_ensemble": 2}),
    "members": (VAETransformer, {"objective": IWAE(2), "density": None}),
}


@pytest.mark.parametrize("name", SKOPS_CASES)
@pytest.mark.parametrize("table", ["array", "frame"])
def test_skops_needs_trust_in_the_package_alone(name, table, X):
    skops = pytest.importorskip("skops.io")
    cls, params = SKOPS_CASES[name]
    if table == "frame":
        X = pd.DataFrame(X, columns=list("abcdef"))
        X["level"] = pd.Categorical(np.arange(len(X)) % 3)
        X["text"] = np.where(np.arange(len(X)) % 2, "u", "v")
    params = {"max_epochs": 1, "hidden_layer_sizes": (8,), "random_state": 0} | params
    vae = cls(2, **params).fit(X)
    content = skops.dumps(make_pipeline(vae))
    names = skops.get_untrusted_types(data=content)
    assert names
    assert all(name.startswith("skvae.") for name in names)
    twin = skops.loads(content, trusted=names)[0]
    np.testing.assert_array_equal(twin.score_samples(X), vae.score_samples(X))
    np.testing.assert_array_equal(twin.transform(X), vae.transform(X))
    assert repr(twin) == repr(vae)


def test_skops_saves_estimators_that_are_not_fitted():
    skops = pytest.importorskip("skops.io")
    vae = VAEOutlierDetector(3, likelihood={"a": Gaussian()}, contamination=0.1)
    content = skops.dumps(vae)
    names = skops.get_untrusted_types(data=content)
    assert names == ["skvae._outliers._detector.VAEOutlierDetector"]
    assert repr(skops.loads(content, trusted=names)) == repr(vae)


def test_damaged_files_of_skops_are_refused(fitted):
    skops = pytest.importorskip("skops.io")
    whole = skops.dumps(fitted)
    names = skops.get_untrusted_types(data=whole)
    # an archive has checksums of its own: damage what they are of, too
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    arrays = [name for name in parts if name.endswith(".npy")]
    for damaged in (*arrays[::7], "schema.json"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, part in parts.items():
                if name == damaged == "schema.json":
                    assert b"0.003" in part
                    part = part.replace(b"0.003", b"0.004")
                elif name == damaged:
                    part = part[:-1] + bytes([part[-1] ^ 1])
                archive.writestr(name, part)
        with pytest.raises(ValueError, match="file of this VAETransformer is damaged"):
            skops.loads(file.getvalue(), trusted=names)


def test_nothing_that_a_pickle_could_run_is_in_the_state(fitted):
    state = fitted.__getstate__()
    assert state["others"] == []
    assert all(array.dtype.kind in "biuf" for array in state["arrays"].values())
    assert isinstance(json.loads(state["description"]), dict)


def test_generators_stay_shared_with_objects_outside(X):
    generator = np.random.RandomState(0)
    pair = VAETransformer(random_state=generator), generator
    for twin, other in (pickle.loads(pickle.dumps(pair)), copy.deepcopy(pair)):
        assert twin.random_state is other
        assert other is not generator


def test_cloudpickle_takes_classes_of_a_notebook(X):
    cloudpickle = pytest.importorskip("cloudpickle")

    class Mine(Gaussian):
        """A likelihood that cannot be imported."""

    vae = VAETransformer(2, likelihood=Mine(), max_epochs=1, random_state=0).fit(X)
    twin = cloudpickle.loads(cloudpickle.dumps(vae))
    assert_equal(vae, twin, X)


def test_names_of_known_classes_lead_back_to_them():
    for module, names in _names._SINGLE.items():
        for name in names if importlib.util.find_spec(module) else ():
            found = _names.find_known(f"{module}.{name}")
            assert _names.find_known(_names.shorten(found)) is found
