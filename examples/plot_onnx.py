r"""
Serving with ONNX
=================

The scores of a fitted detector become one file that runs without Python, torch or
skvae. Units, levels of categories and missing values are inside.
"""

# %%
# Fit and export
# --------------
#
# Customers with numbers, counts, strings and ordered levels; a tenth of the cells is
# missing. (The export needs onnx, and to run the file takes onnxruntime:
# ``pip install "skvae[onnx]"``.)

import time

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime

from skvae import VAEOutlierDetector
from skvae.datasets import make_mixed
from skvae.export import to_onnx

X = make_mixed(n_samples=1500, missing=0.1, random_state=0)
train, new = X[:1000], X[1000:].reset_index(drop=True)
detector = VAEOutlierDetector(contamination=0.02, max_epochs=20, random_state=0)
detector.fit(train)

# with the name of a file, `to_onnx` writes it
model = to_onnx(detector, method="score_samples").SerializeToString()
print(f"{len(model) / 1024:.0f} kB")

# %%
# Run
# ---
#
# Each column is an input of its own. What a service does to a row is written out here:
# it turns values into tensors, with NaN or an empty string for missing ones.

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # rows are small
session = onnxruntime.InferenceSession(model, options)
for entry in session.get_inputs():
    print(f"{entry.name:<10} {entry.type}")


def make_feed(frame):
    """Return the inputs of rows by name."""
    feed = {}
    for entry in session.get_inputs():
        column = frame[entry.name]
        if entry.type == "tensor(string)":
            values = column.astype(object).where(column.notna(), "").to_numpy(object)
        else:
            values = column.astype("Float64").to_numpy(float, na_value=np.nan)
        feed[entry.name] = values[:, None]
    return feed


(served,) = session.run(None, make_feed(new))
scores = detector.score_samples(new)
print(f"largest difference of scores: {abs(served.ravel() - scores).max():.0e} nats")
is_alarm = served.ravel() < detector.offset_
print("equal alarms:", np.array_equal(is_alarm, detector.predict(new) < 0))

# %%
# How long does a row take?
# -------------------------
#
# Rows one at a time, as a service gets them.


def measure(call):
    """Return the milliseconds of single rows."""
    times = []
    for number in range(100):
        row = new.iloc[[number]]
        start = time.perf_counter()
        call(row)
        times.append(1000 * (time.perf_counter() - start))
    return times


milliseconds = {
    "estimator": measure(detector.score_samples),
    "ONNX, with make_feed": measure(lambda row: session.run(None, make_feed(row))),
}
for name, values in milliseconds.items():
    print(f"{name:<22} median {np.median(values):.1f} ms a row")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(scores, served, "o", ms=4, alpha=0.5, color="#1f6fb2")
left.axline((scores.mean(),) * 2, slope=1, color="#17191d", lw=0.8, ls=":")
left.axvline(detector.offset_, color="#c43c5a", lw=1, ls="--", label="threshold")
left.set(
    title="Scores of new rows",
    xlabel="estimator, nats",
    ylabel="file of ONNX, nats",
)
left.legend(frameon=False)
for (name, values), colour in zip(
    milliseconds.items(), ("#e08e3c", "#1f6fb2"), strict=True
):
    right.ecdf(values, color=colour, label=name)
right.set(
    title="Rows, one at a time",
    xlabel="milliseconds",
    ylabel="share of rows done by then",
    xscale="log",
)
right.legend(frameon=False, loc="lower right")
plt.show()
