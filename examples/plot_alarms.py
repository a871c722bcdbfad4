r"""
Alarms at a known rate, and drift
=================================

A detector in production answers two questions. Is this row unusual? And has the stream
of rows changed as a whole? Both are answered by p-values: the share of normal rows that
score as low as a row.
"""

# %%
# The detector
# ------------
#
# Customers, a tenth of the cells missing. Half of the first rows are fitted; the others
# are put aside for calibration, which makes p-values exact: of new rows like these, a
# share of at most p has a p-value of at most p, however good the model is.

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import false_discovery_control, ks_2samp

from skvae import VAEOutlierDetector
from skvae.datasets import make_mixed

history = make_mixed(n_samples=2000, missing=0.1, random_state=0)
detector = VAEOutlierDetector(max_epochs=20, random_state=0).fit(history[:1000])
calibration = history[1000:]

# %%
# A day of rows
# -------------
#
# One thousand new rows, of which 20 are corrupted: their income has a digit too many.
# Alarms for p at most 0.01 are about 1 % of the normal rows. If most alarms are to be
# right, the false discovery rate is controlled instead, here at 10 %.

day = make_mixed(n_samples=1000, missing=0.1, random_state=1)
has_income = np.flatnonzero(day["income"].notna())
corrupted = np.random.default_rng(0).choice(has_income, 20, replace=False)
day.loc[corrupted, "income"] *= 10
is_corrupted = np.isin(np.arange(1000), corrupted)
p_values = detector.p_values(day, calibration)
rules = {
    "p at most 0.01": p_values <= 0.01,
    "false discoveries, 10 %": false_discovery_control(p_values) <= 0.1,
}
for name, alarms in rules.items():
    found, false = alarms[is_corrupted].sum(), alarms[~is_corrupted].sum()
    print(f"{name:<24} {found:2d} of 20 found, {false:2d} false alarms in 980 rows")

# %%
# `explain` names the cell. Alarms without a reason are of little use to those who get
# them.

reasons = detector.explain(day[is_corrupted & rules["p at most 0.01"]]).idxmin(axis=1)
print("reasons:", reasons.value_counts().to_dict())

# %%
# Drift
# -----
#
# From day 8 on, the share of customers of another kind grows by a tenth a day: they are
# twenty years older, with the same income. Few single rows are unusual, but the day is:
# a Kolmogorov-Smirnov test compares its scores with those of the calibration rows.

normal_scores = detector.score_samples(calibration)
days, tests = [], []
for number in range(14):
    rows = make_mixed(n_samples=500, missing=0.1, random_state=100 + number)
    drifted = np.random.default_rng(number).random(500) < 0.1 * max(0, number - 7)
    rows.loc[drifted, "age"] += 20
    days.append(rows)
    tests.append(ks_2samp(detector.score_samples(rows), normal_scores).pvalue)
    print(
        f"day {number:2d}: {drifted.mean():4.0%} drifted, KS test p = {tests[-1]:.4f}"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
looks = {
    "normal rows": (p_values[~is_corrupted], "#1f6fb2"),
    "corrupted rows": (p_values[is_corrupted], "#c43c5a"),
    "rows of day 13": (detector.p_values(days[13], calibration), "#e08e3c"),
}
for name, (values, colour) in looks.items():
    left.ecdf(values, label=name, color=colour)
left.axline((0, 0), slope=1, color="#17191d", lw=0.8, ls=":", label="uniform")
left.set(title="p-values of rows", xlabel="p-value", ylabel="share of rows at or below")
left.legend(frameon=False, loc="lower right")

right.semilogy(range(14), tests, "o-", color="#1f6fb2")
right.axhline(0.001, color="#c43c5a", lw=1, ls="--", label="alarm, p = 0.001")
right.axvspan(7.5, 13.5, color="#f3e3cf", label="drift")
right.set(
    title="Do the rows of a day differ from those at fit?",
    xlabel="day",
    ylabel="p-value of the day (KS test)",
    xlim=(-0.5, 13.5),
)
_ = right.legend(frameon=False, loc="lower left")
plt.show()
