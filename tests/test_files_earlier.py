"""Files that earlier versions have saved give the answers that they gave then."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import skvae
from skvae.export._persistence import FORMAT

FOLDER = Path(__file__).parent / "files"
sys.path.insert(0, str(FOLDER))

from make import answer, make_rows  # noqa: E402

# the first has a detector alone
NAMES = ["detector-1"] + [
    f"{name}-{number}"
    for number in range(2, FORMAT + 1)
    for name in ("detector", "transformer")
]


def test_every_format_has_its_files():
    assert {path.stem for path in FOLDER.glob("*.skvae")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::skvae.InconsistentVersionWarning")
def test_files_of_every_format_give_their_answers(name):
    estimator = skvae.load(FOLDER / f"{name}.skvae")
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    rows = make_rows()
    answers = answer(estimator, rows.head(12))
    for name, expected in json.loads(text).items():
        if name in ("drawn", "outliers"):
            assert answers[name] == expected
        else:
            # processors and versions of torch round differently
            np.testing.assert_allclose(answers[name], expected, rtol=1e-4, atol=1e-4)
    # all that it needs is there: it is saved again, and trained further
    file = io.BytesIO()
    skvae.save(estimator, file)
    estimator.set_params(warm_start=True).fit(rows)


def test_chains_of_columns_of_format_1_are_refused_with_the_way_out():
    rows = make_rows()[["number", "count", "level"]].dropna()
    file = io.BytesIO()
    skvae.save(skvae.VAETransformer(1, max_epochs=1, random_state=0).fit(rows), file)
    content = file.getvalue()
    assert b"AutoregressiveColumns" in content
    earlier = content.replace(b'\\"format\\": %d' % FORMAT, b'\\"format\\": 1', 1)
    assert earlier != content
    with pytest.raises(ValueError, match="has format 1, of which density='after'"):
        skvae.load(io.BytesIO(earlier))
