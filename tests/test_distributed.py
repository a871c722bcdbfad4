import pickle
import subprocess
import sys
from pathlib import Path

import distributed_worker as worker
import numpy as np
import pytest

# of two epochs
pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
SIZE = 2
WORKER = Path(worker.__file__)
ENDS = [name for name in worker.FAILURES if name != "die"]


def start(folder, cases, size=SIZE):
    """Run cases in several processes; return what each found, None if it is gone."""
    processes = []
    for rank in range(size):
        arguments = [str(rank), str(size), folder, ";".join(cases)]
        with (folder / f"{rank}.log").open("w") as log:
            command = [sys.executable, WORKER, *arguments]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    try:
        codes = [process.wait(timeout=540) for process in processes]
    finally:
        for process in processes:
            process.kill()
    paths = [folder / f"{rank}.pickle" for rank in range(size)]
    if any(codes) and "die" not in cases:
        logs = [path.with_suffix(".log").read_text()[-3000:] for path in paths]
        raise AssertionError("\n".join(logs))
    return [pickle.loads(p.read_bytes()) if p.exists() else None for p in paths]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what both processes found for all cases that go well."""
    return start(tmp_path_factory.mktemp("ranks"), list(worker.CASES))


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """Return the errors of both processes; each case begins after the one before."""
    return start(tmp_path_factory.mktemp("failures"), [*ENDS, "default"])


def fit_alone(name):
    """Return what one process finds for all rows."""
    fit, make = worker.CASES[name]
    X = make()
    return worker.describe(fit(X), X)


def assert_equal_weights(one, other):
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", worker.CASES)
def test_all_processes_end_with_the_same_weights(found, name):
    if name == "polars":
        pytest.importorskip("polars")
    assert_equal_weights(found[0][name], found[1][name])
    np.testing.assert_array_equal(found[0][name]["scores"], found[1][name]["scores"])


@pytest.mark.parametrize("name", worker.CASES)
def test_processes_learn_what_one_learns_from_all_rows(found, name):
    if name == "polars":
        pytest.importorskip("polars")
    alone, together = fit_alone(name), found[0][name]
    # rounding decides the first steps of weights whose gradient is nearly 0
    n_equal = 1 if name in ("joint, large", "importance weighted") else None
    for part in (slice(n_equal), slice(None)):
        np.testing.assert_allclose(
            together["history"][part],
            alone["history"][part],
            atol=1e-2 if part.stop is None and n_equal else 1e-4,
        )
    np.testing.assert_allclose(
        together["scores"].mean(), alone["scores"].mean(), atol=1e-2
    )
    if n_equal is None:
        np.testing.assert_allclose(
            together["scores"], alone["scores"], rtol=1e-3, atol=1e-3
        )


def test_a_chunk_is_the_rows_of_all_processes(found):
    X = worker.make_array()
    parts = [worker.split(X, rank, SIZE) for rank in range(SIZE)]
    first, last = (
        np.vstack([worker.halve(part)[half] for part in parts]) for half in (0, 1)
    )
    alone = worker.make_vae().partial_fit(first).partial_fit(last)
    assert_equal_weights(found[0]["chunks"], found[1]["chunks"])
    np.testing.assert_allclose(
        found[0]["chunks"]["scores"], alone.score_samples(X), rtol=1e-3, atol=1e-3
    )


def test_weights_and_held_out_rows_are_those_of_all_processes(found):
    X = worker.make_array()
    vae = worker.make_vae().fit(X, sample_weight=worker.weigh(X), X_val=X[::4])
    assert_equal_weights(found[0]["weighted"], found[1]["weighted"])
    np.testing.assert_allclose(
        found[0]["weighted"]["scores"], vae.score_samples(X), rtol=1e-3, atol=1e-3
    )


def test_processes_without_a_seed_draw_alike(found):
    assert_equal_weights(found[0]["unseeded"], found[1]["unseeded"])


@pytest.mark.parametrize("name", ENDS)
def test_processes_end_together(failures, name):
    assert all("Error" in part[name] or "Interrupt" in part[name] for part in failures)


def test_after_failures_processes_fit_again(failures):
    assert_equal_weights(failures[0]["default"], failures[1]["default"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no rows", "X has no rows in rank 1 "),
        ("other columns", "In rank 1 of torch.distributed the columns of X is (5,), "),
        ("other names", "In rank 1 of torch.distributed the columns of X is ('A', "),
        ("other parameters", "the parameter max_epochs is 2, in rank 0 1"),
        ("other objects", "the parameter objective is ('ELBO', ["),
        ("other settings", "the parameter net_params['optimizer'] is <class 'torch."),
        ("no weights", "the container of sample_weight is 'array', in rank 0 None"),
    ],
)
def test_what_differs_is_named_in_all_processes(failures, name, message):
    assert all(message in part[name] for part in failures)


def test_infinite_values_of_one_process_are_named_in_all(failures):
    assert all("contains inf in column 0" in part["infinite"] for part in failures)


@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("interrupt", "KeyboardInterrupt: ", "alone: KeyboardInterrupt: Ctrl-C. Fit"),
        ("error", "OSError: the disk is full", "OSError: the disk is full. Fit again"),
        ("error in a step", "OSError: the disk is", "OSError: the disk is full. Fit"),
        ("stop", "RankError: Processes of", "do different things: rank 1 is at "),
    ],
)
def test_a_process_that_ends_tells_the_others(failures, name, own, other):
    first, second = (part[name] for part in failures)
    assert second.startswith(own)
    assert first.startswith("RankError: ")
    assert other in first


def test_a_process_that_is_gone_ends_the_others(tmp_path):
    first, second = start(tmp_path, ["die"])
    assert second is None
    assert first["die"].startswith("RankError: Another process ")


def test_three_processes_share_rows(tmp_path):
    found = start(tmp_path, ["mixed, missing", "small batches"], size=3)
    for name in ("mixed, missing", "small batches"):
        alone = fit_alone(name)
        for part in found[1:]:
            assert_equal_weights(found[0][name], part[name])
        np.testing.assert_allclose(
            found[0][name]["scores"], alone["scores"], rtol=1e-3, atol=1e-3
        )


def test_script_of_the_page_runs(tmp_path):
    page = WORKER.parents[1] / "docs" / "user_guide" / "processes.md"
    script = page.read_text().split("```python\n")[1].split("```")[0]
    path = tmp_path / "fit_together.py"
    path.write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("2 processes: ")
