"""Some random tables and settings against the laws of `fuzz.py`, in every run."""

import numpy as np
import pytest
from fuzz import check, make_case

# cases of one test, so that what it costs to start one is small
N_CASES = 10


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("first", range(0, 80, N_CASES))
def test_laws_hold(first):
    n_refused = 0
    for seed in range(first, first + N_CASES):
        case = make_case(seed)
        broken, refusal = check(case)
        n_refused += refusal is not None
        assert not broken, case.describe()
    assert n_refused <= N_CASES // 2


def test_a_case_is_that_of_its_seed():
    one, other = make_case(5), make_case(5)
    assert one.describe() == other.describe()
    assert (one.cells == other.cells).all()
    assert one.describe() != make_case(6).describe()


# what a mistake of a method breaks
MISTAKES = {
    "score_samples": (lambda scores: scores + 1, "law_scores"),
    "score_features": (lambda scores: 0.0 * scores, "law_scores"),
    "transform": (lambda z: z + np.arange(len(z))[:, None], "law_rows"),
    "sample": (lambda rows: rows * 1e9, "law_samples"),
    "impute": (lambda rows: rows + 1, "law_imputation"),
    "reconstruct": (lambda rows: rows * np.nan, "law_coordinates"),
}


# the mistakes may make numpy warn, too
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", MISTAKES)
def test_mistakes_are_found(method, monkeypatch):
    mistake, law = MISTAKES[method]
    cases = map(make_case, range(99))
    case = next(c for c in cases if c.container == "array" and "number" in c.kinds)
    cls = type(case.estimator)
    own = getattr(cls, method)
    monkeypatch.setattr(cls, method, lambda *args, **more: mistake(own(*args, **more)))
    broken, _ = check(case)
    assert law in {name for name, _ in broken}
