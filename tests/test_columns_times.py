"""Datetimes and durations are numbers inside, and come back as what they are."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae._columns._reading import read_table

QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
DAYS = pd.Series(pd.date_range("1960-03-01", periods=40, freq="17D"))
HOURS = pd.Series(pd.to_timedelta(np.arange(40) * 3 - 7, unit="h"))


def to_arrow(series, kind):
    return series.astype(pd.ArrowDtype(kind))


COLUMNS = {
    "days": (DAYS, "D"),
    "ns": (DAYS.astype("datetime64[ns]"), "D"),
    "seconds": (DAYS.astype("datetime64[s]") + pd.Timedelta(minutes=5), "m"),
    "zone": (DAYS.dt.tz_localize("Europe/Berlin"), "h"),
    "odd ns": (pd.Series(np.arange(40).view("M8[ns]")), "ns"),
    "date32": (to_arrow(DAYS, pa.date32()), "D"),
    "date64": (to_arrow(DAYS, pa.date64()), "D"),
    "timestamp": (to_arrow(DAYS, pa.timestamp("ms")), "D"),
    "arrow zone": (
        to_arrow(DAYS.dt.tz_localize("UTC"), pa.timestamp("us", tz="Asia/Tokyo")),
        "D",
    ),
    "durations": (HOURS, "h"),
    "arrow durations": (to_arrow(HOURS, pa.duration("ms")), "h"),
    "polars dates": (pl.Series([date(2020, 1, i + 1) for i in range(30)]), "D"),
    "polars datetimes": (pl.Series([datetime(2020, 1, 1, i) for i in range(20)]), "h"),
    "polars zone": (
        pl.Series([datetime(2020, 1, i + 1) for i in range(20)]).dt.replace_time_zone(
            "America/New_York"
        ),
        "h",
    ),
    "polars durations": (pl.Series([timedelta(minutes=i) for i in range(20)]), "m"),
}


def read(column):
    """Return codes of one column, and its kind."""
    if isinstance(column, pl.Series):
        frame = pl.DataFrame({"t": column})
    else:
        frame = pd.DataFrame({"t": column})
    values, kinds = read_table(frame, None, "VAETransformer")
    return values[:, 0], kinds[0]


@pytest.mark.parametrize("name", COLUMNS)
def test_values_come_back_exactly(name):
    column, unit = COLUMNS[name]
    codes, kind = read(column)
    assert kind.unit == unit
    assert codes.min() == 0
    assert (codes == np.rint(codes)).all()
    found = kind.from_codes(codes)
    if isinstance(column, pl.Series):
        assert found.dtype == column.dtype
        assert found.to_list() == column.to_list()
    else:
        pd.testing.assert_series_equal(pd.Series(found), column, check_names=False)


@pytest.mark.parametrize("name", COLUMNS)
def test_missing_values_stay_missing(name):
    column, _ = COLUMNS[name]
    if isinstance(column, pl.Series):
        column = pl.concat([column, pl.Series([None], dtype=column.dtype)])
    else:
        column = pd.concat([column, pd.Series([None]).astype(column.dtype)])
    codes, kind = read(column)
    assert np.isnan(codes).sum() == 1
    found = list(kind.from_codes(codes))
    assert pd.isna(found[-1])
    assert list(kind.from_codes(codes[:-1])) == found[:-1]


@pytest.mark.parametrize("name", COLUMNS)
def test_given_values_have_the_code_of_their_cells(name):
    column, _ = COLUMNS[name]
    codes, kind = read(column)
    value = column[3]
    assert kind.code_value(value, "Column 't'") == codes[3]
    with pytest.raises(ValueError, match="Column 't' cannot be 7; a d"):
        kind.code_value(7, "Column 't'")
    with pytest.raises(ValueError, match="cannot be 'soon'"):
        kind.code_value("soon", "Column 't'")


def test_codes_between_units_are_times_between_them():
    _, kind = read(DAYS)
    found = kind.from_codes(np.array([0.5, -1.25]))
    expected = DAYS[0] + pd.to_timedelta([12, -30], unit="h")
    assert (found == expected.to_numpy()).all()


def test_codes_far_away_stay_within_the_dtype():
    _, kind = read(DAYS.astype("datetime64[ns]"))
    found = kind.from_codes(np.array([-1e300, 1e300]))
    assert found[0] < DAYS[0] < found[1]


def test_values_too_far_apart_for_their_unit_are_refused():
    column = pd.Series(np.array([0, 2**60 + 1]).view("M8[ns]"))
    with pytest.raises(ValueError, match=r"'t' has values that are 2\^53 ns.*round"):
        read(column)


@pytest.mark.parametrize(
    ("fitted", "given"),
    [("days", "durations"), ("durations", "days"), ("days", None), (None, "days")],
)
def test_other_kinds_are_refused(fitted, given):
    fitted, given = (
        pd.DataFrame({"t": np.arange(40.0) if name is None else COLUMNS[name][0]})
        for name in (fitted, given)
    )
    _, kinds = read_table(fitted, None, "VAETransformer")
    with pytest.raises(TypeError, match=r"'t' was .* at fit and is .* now"):
        read_table(given, kinds, "VAETransformer")


def make_table(n=150):
    rng = np.random.default_rng(0)
    z = rng.standard_normal(n)
    day = np.rint(40 * z + 5 * rng.standard_normal(n)).astype(int)
    frame = pd.DataFrame(
        {
            "signed": pd.Timestamp("2024-05-01") + pd.to_timedelta(day, unit="D"),
            "spent": z + 0.2 * rng.standard_normal(n),
            "stay": pd.to_timedelta(np.rint(np.exp(z / 2) * 60), unit="min"),
            "kind": np.where(z + rng.standard_normal(n) > 0, "a", "b"),
        }
    )
    frame.loc[::7, "signed"] = pd.NaT
    return frame


@pytest.fixture(scope="module")
def fitted():
    X = make_table()
    return X, VAETransformer(2, **QUICK).fit(X)


def test_methods_return_times(fitted):
    X, vae = fitted
    filled = vae.impute(X)
    pd.testing.assert_series_equal(filled.dtypes, X.dtypes)
    assert filled.notna().all().all()
    known = X["signed"].notna()
    assert (filled.loc[known, "signed"] == X.loc[known, "signed"]).all()
    rows = vae.sample(50, random_state=0)
    pd.testing.assert_series_equal(rows.dtypes, X.dtypes)
    # whole days and minutes, within the range seen
    assert (rows["signed"] == rows["signed"].dt.normalize()).all()
    assert rows["signed"].between(X["signed"].min(), X["signed"].max()).all()
    assert (rows["stay"] % pd.Timedelta(minutes=1) == pd.Timedelta(0)).all()
    pd.testing.assert_series_equal(vae.reconstruct(X).dtypes, X.dtypes)
    names = [kind.name for kind in vae.columns_.kinds]
    assert names == ["datetime", "number", "duration", "category"]


def test_scores_are_those_of_numbers_of_the_same_unit(fitted):
    X, vae = fitted
    day, minute = pd.Timedelta(days=1), pd.Timedelta(minutes=1)
    numbers = X.assign(
        signed=(X["signed"] - X["signed"].min()) / day,
        stay=(X["stay"] - X["stay"].min()) / minute,
    )
    other = VAETransformer(2, **QUICK).fit(numbers)
    np.testing.assert_array_equal(vae.score_samples(X), other.score_samples(numbers))
    np.testing.assert_array_equal(vae.transform(X), other.transform(numbers))


def test_rows_under_a_condition_on_a_time(fitted):
    _, vae = fitted
    day = "2024-05-03"
    for value in (pd.Timestamp(day), np.datetime64(day), day):
        rows = vae.sample(5, given={"signed": value}, random_state=0)
        assert (rows["signed"] == pd.Timestamp("2024-05-03")).all()


ZONE = "America/New_York"
ZONED = DAYS.dt.tz_localize(ZONE)
MIXED = {
    "pandas": (ZONED, DAYS, "tz_localize"),
    "polars": (pl.from_pandas(ZONED), pl.from_pandas(DAYS), "replace_time_zone"),
    "arrow": (
        to_arrow(ZONED, pa.timestamp("us", tz=ZONE)),
        to_arrow(DAYS, pa.timestamp("us")),
        "tz_localize",
    ),
}


@pytest.mark.parametrize("library", MIXED)
def test_times_with_and_without_a_zone_are_not_mixed(library):
    zoned, naive, way = MIXED[library]
    make = pl.DataFrame if library == "polars" else pd.DataFrame
    for known, other, now in ((zoned, naive, "no"), (naive, zoned, "the")):
        rows = {"t": other, "a": np.arange(40.0)}
        vae = VAETransformer(1, **QUICK).fit(make({"t": known, "a": np.arange(40.0)}))
        for call in (vae.impute, vae.score_samples, vae.transform, vae.partial_fit):
            with pytest.raises(TypeError, match=f"'t' had .*has {now} .*zone.*{way}"):
                call(make(rows))
    if library != "polars":
        with pytest.raises(TypeError, match="'t' had"):
            vae.impute(pa.Table.from_pandas(make(rows)))


def test_other_zones_and_missing_times_are_accepted():
    X = pd.DataFrame({"t": ZONED, "a": np.arange(40.0)})
    vae = VAETransformer(1, **QUICK).fit(X)
    other = X.assign(t=ZONED.dt.tz_convert("Asia/Tokyo"))
    np.testing.assert_array_equal(vae.score_samples(other), vae.score_samples(X))
    pd.testing.assert_frame_equal(vae.impute(other), X)
    missing = X.assign(t=pd.Series(pd.NaT, index=X.index, dtype="M8[ns]"))
    assert vae.impute(missing)["t"].dtype == X["t"].dtype


def test_texts_without_a_zone_are_local_times():
    local, naive = (pd.DataFrame({"t": t, "a": np.arange(40.0)}) for t in (ZONED, DAYS))
    vae = VAETransformer(1, **QUICK).fit(local)
    rows = vae.sample(3, given={"t": "1960-03-18"}, random_state=0)
    assert (rows["t"] == pd.Timestamp("1960-03-18", tz=ZONE)).all()
    with pytest.raises(ValueError, match="no time zone at fit"):
        VAETransformer(1, **QUICK).fit(naive).sample(given={"t": "1960-03-18T00:00Z"})


def test_files_streams_and_detectors(fitted, tmp_path):
    X, vae = fitted
    skvae.save(vae, tmp_path / "vae.skvae")
    other = skvae.load(tmp_path / "vae.skvae")
    assert (other.transform(X) == vae.transform(X)).all()
    assert other.columns_.kinds[0].origin == vae.columns_.kinds[0].origin
    stream = VAETransformer(2, **QUICK)
    for part in np.array_split(np.arange(len(X)), 3):
        stream.partial_fit(X.iloc[part])
    assert np.isfinite(stream.score(X))
    odd = X.copy()
    odd.loc[3, "stay"] = pd.Timedelta(days=300)
    detector = VAEOutlierDetector(2, **QUICK).fit(X)
    assert detector.explain(odd).loc[3].idxmin() == "stay"


def test_onnx_has_no_times(fitted, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="'signed' has datetimes, but ONNX"):
        skvae.export.to_onnx(fitted[1], tmp_path / "vae.onnx")
