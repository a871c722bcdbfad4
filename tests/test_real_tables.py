"""Real mixed tables as they come: from fit to a file and back."""

import os
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer
from skvae.networks import MLP

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDER = Path(os.environ.get("SKVAE_DATA", BESIDE)) / "mixed"
N_ROWS = 300


@pytest.fixture(
    scope="module",
    params=["adult", "bank_marketing", "german_credit", "titanic", "horse_colic"],
)
def fitted(request):
    path = FOLDER / f"{request.param}.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here; SKVAE_DATA names the folder of mixed/*.csv")
    frame = pd.read_csv(path)
    frame = frame.sample(N_ROWS, random_state=0)
    vae = VAETransformer(5, network=MLP((32,)), max_epochs=3, random_state=0)
    return vae.fit(frame), frame


def test_rows_have_components_and_scores(fitted):
    vae, frame = fitted
    Z = vae.transform(frame)
    assert Z.shape == (N_ROWS, 5)
    assert np.isfinite(Z).all()
    elbo, evidence = (vae.score_samples(frame, m) for m in ("elbo", "evidence"))
    assert np.isfinite(elbo).all()
    assert (evidence >= elbo - 1e-9).all()
    cells = vae.score_features(frame)
    assert (cells.to_numpy()[frame.isna()] == 0).all()


def test_draws_are_rows_of_the_table(fitted):
    vae, frame = fitted
    drawn = vae.sample(200, random_state=0)
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
    assert not drawn.isna().any(axis=None)
    for name in frame.select_dtypes(["object", "string", "bool"]):
        assert set(drawn[name]) <= set(frame[name].dropna())


def test_holes_are_filled_and_the_rest_stays(fitted):
    vae, frame = fitted
    for filled in (vae.impute(frame), vae.impute(frame, random_state=0)):
        pd.testing.assert_series_equal(filled.dtypes, frame.dtypes)
        assert not filled.isna().any(axis=None)
        observed = frame.notna()
        assert filled.where(observed).equals(frame.where(observed))
        assert filled.index.equals(frame.index)


def test_values_can_be_given(fitted):
    vae, frame = fitted
    usual = frame.mode().iloc[0]
    name = frame.columns[-1]
    drawn = vae.sample(5, given={name: usual[name]}, random_state=0)
    assert (drawn[name] == usual[name]).all()


def test_files_keep_everything(fitted, tmp_path):
    vae, frame = fitted
    restored = joblib.load(joblib.dump(vae, tmp_path / "vae.joblib")[0])
    np.testing.assert_array_equal(
        restored.score_samples(frame), vae.score_samples(frame)
    )
    pd.testing.assert_frame_equal(restored.impute(frame), vae.impute(frame))
