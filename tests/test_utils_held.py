"""Settings of the process that threads hold, and processes that are forked."""

import multiprocessing
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from skvae._utils._device import threads_for
from skvae._utils._held import Held

# seconds after which a process that should answer counts as hanging
_PATIENCE = 60


def test_a_setting_is_changed_once_and_restored_by_the_last():
    value, seen = ["user's"], []

    @contextmanager
    def change():
        before, value[0] = value[0], "ours"
        seen.append(before)
        yield
        value[0] = before

    hold, inside, leave = Held(change), threading.Barrier(2), threading.Event()

    def stay():
        with hold():
            inside.wait()
            leave.wait()

    thread = threading.Thread(target=stay)
    with hold():
        thread.start()
        inside.wait()
    assert value == ["ours"]
    leave.set()
    thread.join()
    assert value == ["user's"]
    with pytest.raises(RuntimeError, match="anything"), hold():
        raise RuntimeError("anything")
    assert value == ["user's"]
    assert seen == ["user's"] * 2


def test_threads_of_overlapping_calls_are_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside, leave = threading.Barrier(2), threading.Event()

        def stay():
            with threads_for(1e3):
                inside.wait()
                leave.wait()

        thread = threading.Thread(target=stay)
        with threads_for(1e3):
            thread.start()
            inside.wait()
        assert torch.get_num_threads() == 2
        leave.set()
        thread.join()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


PARENT = """
import multiprocessing, sys
import numpy as np, torch
from sklearn.base import clone
from skvae import VAETransformer

def work(conn, vae, X):
    fitted = clone(vae).fit(X).score(X)
    gaps = np.where(X > 1.5, np.nan, X)
    drawn = vae.sample(5000, random_state=0), vae.impute(gaps[:50])
    numbers = vae.score_samples(X[:50], method="evidence", n_draws=100)
    found = fitted, vae.transform(X), numbers, *drawn
    conn.send([float(np.sum(part)) for part in found])

if __name__ == "__main__":
    torch.set_num_threads(2)
    X = np.random.default_rng(0).normal(size=(3000, 30))
    # uses the pool of threads
    torch.randn(2000, 2000).mm(torch.randn(2000, 2000)).exp()
    vae = VAETransformer(
        2, density="joint", max_epochs=1, random_state=0, hidden_layer_sizes=(64,)
    )
    vae.fit(X).score(X)
    context = multiprocessing.get_context(sys.argv[1])
    mine, theirs = context.Pipe()
    child = context.Process(target=work, args=(theirs, vae, X), daemon=True)
    child.start()
    assert mine.poll(int(sys.argv[2])), "hangs"
    found = mine.recv()
    child.join()
    assert torch.get_num_threads() == 2
    work(theirs, vae, X)
    np.testing.assert_allclose(found, mine.recv(), rtol=1e-3)
    print("answers")
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_answers_after_its_parent_has_used_threads(method, tmp_path):
    path = tmp_path / "parent.py"
    path.write_text(textwrap.dedent(PARENT))
    ended = subprocess.run(
        [sys.executable, str(path), method, str(_PATIENCE)],
        capture_output=True,
        text=True,
        timeout=4 * _PATIENCE,
    )
    assert ended.stdout == "answers\n", ended.stderr


POOL = """
import sys
import numpy as np, torch
from skvae import VAETransformer

def work(seed):
    X = np.random.default_rng(0).normal(size=(200, 5))
    vae = VAETransformer(2, density="joint", max_epochs=1, random_state=seed)
    return vae.fit(X).score(X)

if __name__ == "__main__":
    torch.set_num_threads(2)
    alone = [work(seed) for seed in range(3)]
    if sys.argv[1] == "pool":
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(work, range(3))
    else:
        from joblib import Parallel, delayed
        parallel = Parallel(2, backend=sys.argv[1])
        found = parallel(delayed(work)(seed) for seed in range(3))
    np.testing.assert_allclose(found, alone, rtol=1e-4)
    print("answers")
"""


@pytest.mark.parametrize("backend", ["pool", "loky", "multiprocessing", "threading"])
def test_backends_of_joblib_and_pools_answer(backend, tmp_path):
    if backend == "pool" and sys.platform != "linux":
        pytest.skip("a pool of forked processes is safe on Linux alone")
    path = tmp_path / "pool.py"
    path.write_text(textwrap.dedent(POOL))
    ended = subprocess.run(
        [sys.executable, str(path), backend],
        capture_output=True,
        text=True,
        timeout=4 * _PATIENCE,
    )
    assert ended.stdout == "answers\n", ended.stderr


def test_a_fork_while_another_thread_fits_is_not_locked_out():
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes cannot be forked here")
    code = """
    import multiprocessing, threading, time
    import numpy as np
    from skvae import VAETransformer

    X = np.random.default_rng(0).normal(size=(300, 5))
    params = {"density": "joint", "early_stopping": False, "random_state": 0}
    vae = VAETransformer(2, max_epochs=1, **params).fit(X)
    fitting = VAETransformer(2, max_epochs=2000, **params)
    thread = threading.Thread(target=fitting.fit, args=(X,), daemon=True)
    thread.start()
    time.sleep(0.5)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work():
        vae.fit(X)
        queue.put(len(vae.sample(3)))

    child = context.Process(target=work, daemon=True)
    child.start()
    print(queue.get(timeout=60))
    """
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=4 * _PATIENCE,
    )
    assert ended.stdout == "3\n", ended.stderr


def test_numbers_of_rows_do_not_depend_on_who_computes_beside(quick):
    table = np.random.default_rng(0).standard_normal((200, 5))
    vae = quick().fit(table)
    expected, found = vae.score_samples(table), []

    def score():
        found.extend(vae.score_samples(table) for _ in range(5))

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scores in found:
        np.testing.assert_array_equal(scores, expected)
