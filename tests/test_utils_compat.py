"""What the package does itself where scikit-learn or Python has it in another form."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator

from skvae import VAEOutlierDetector, VAETransformer
from skvae._utils._compat import add_note, check_array, validate_data


class WithoutNotes(Exception):
    """An error of Python 3.10."""

    @property
    def add_note(self):
        raise AttributeError


def test_notes_are_kept_with_the_error_in_all_versions_of_python():
    error = ValueError("message")
    add_note(error, "note")
    text = [str(error), *getattr(error, "__notes__", [])]
    assert "\n".join(text) == "message\nnote"
    error = WithoutNotes("message", 3)
    add_note(error, "note")
    assert error.args == ("message\nnote", 3)
    error = WithoutNotes()
    add_note(error, "note")
    assert error.args == ()


def test_missing_cells_pass_where_they_are_accepted():
    X = np.array([[1.0, np.nan]])
    assert check_array(X, ensure_all_finite=False) is X
    estimator = BaseEstimator()
    validate_data(estimator, X, reset=True, ensure_all_finite=False)
    assert estimator.n_features_in_ == 2
    with pytest.raises(ValueError, match="NaN"):
        check_array(X)
    with pytest.raises(ValueError, match="NaN"):
        validate_data(estimator, X, reset=False)


def test_names_of_columns_are_checked_without_reading_the_cells():
    frame = pd.DataFrame({"a": ["x"], "b": ["y"]})
    estimator = BaseEstimator()
    assert validate_data(estimator, frame, reset=True, skip_check_array=True) is frame
    assert list(estimator.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        validate_data(estimator, frame[["a"]], reset=False, skip_check_array=True)


@pytest.mark.parametrize("cls", [VAETransformer, VAEOutlierDetector])
def test_tags_say_what_is_read_and_returned(cls):
    tags = cls().__sklearn_tags__()
    assert tags.input_tags.allow_nan
    assert tags.input_tags.string
    assert tags.input_tags.categorical
    assert tags.transformer_tags.preserves_dtype == ["float32"]
    if not hasattr(sklearn.base.BaseEstimator, "__sklearn_tags__"):
        tags = cls()._get_tags()
        assert {"2darray", "string", "categorical"} <= set(tags["X_types"])
        assert tags["allow_nan"]
        assert tags["preserves_dtype"] == ["float32"]
