import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._utils._device import resolve_device, threads_for

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device on this machine"
)


def test_auto_is_the_cpu_where_there_is_nothing_else(X):
    vae = VAETransformer(max_epochs=1, random_state=0).fit(X)
    found = resolve_device("auto")
    assert vae.device_ == str(found)
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert found.type in ("cpu", "xpu")


def test_small_work_has_one_thread_and_the_setting_returns():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(1e3):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads_for(1e12):
            assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="anything"), threads_for(1e3):
            raise RuntimeError("anything")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
@needs_gpu
def test_a_fit_on_cuda_scores_as_on_the_cpu(X, tmp_path):
    vae = VAETransformer(max_epochs=5, random_state=0, device="cuda").fit(X)
    assert vae.device_.startswith("cuda")
    scores = vae.score_samples(X)
    path = tmp_path / "vae.pickle"
    path.write_bytes(pickle.dumps(vae))
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, numpy as np; from pathlib import Path;"
        "folder = Path(sys.argv[1]);"
        "vae = pickle.loads((folder / 'vae.pickle').read_bytes());"
        "assert vae.device_ == 'cpu', vae.device_;"
        "scores = vae.score_samples(np.load(folder / 'X.npy'));"
        "np.save(folder / 'scores.npy', scores)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        env={"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join(sys.path)},
    )
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), scores, rtol=1e-5)


@pytest.mark.gpu
@needs_gpu
def test_partial_fit_goes_on_on_cuda(X):
    vae = VAETransformer(random_state=0, device="cuda")
    for chunk in np.array_split(X, 4):
        vae.partial_fit(chunk)
    assert np.isfinite(vae.score(X))
    assert vae.sample(5, random_state=0).shape == (5, X.shape[1])
