r"""
A stream that changes
=====================

Rows arrive in chunks and are not kept. `partial_fit` trains on each chunk once; the
score of a chunk before the model has seen it shows how well the model is doing, and
when the stream has changed.
"""

# %%
# The stream
# ----------
#
# Sixty chunks of 200 customers, with a tenth of the cells missing. From chunk 36 on,
# prices have doubled: incomes and savings are twice as large.

import matplotlib.pyplot as plt
import numpy as np

from skvae import VAETransformer
from skvae.datasets import make_mixed

N_CHUNKS, CHANGE = 60, 36


def read_chunks():
    """Yield one chunk after another, as from the row groups of a file."""
    for number in range(N_CHUNKS):
        chunk = make_mixed(n_samples=200, missing=0.1, random_state=number)
        if number >= CHANGE:
            chunk["income"] *= 2
            chunk["savings"] *= 2
        yield chunk


# %%
# Score first, then train
# -----------------------
#
# Columns are read from the first chunk. A second model stops learning at chunk 30: it
# shows what happens to a model that is trained once and never updated.

going_on = VAETransformer(n_components=3, density="joint", random_state=0)
frozen = VAETransformer(n_components=3, density="joint", random_state=0)
scores = {"trained on each chunk": [], "trained until chunk 30": []}
for number, chunk in enumerate(read_chunks()):
    if number:
        for model, values in zip((going_on, frozen), scores.values(), strict=True):
            values.append(model.score(chunk))
    going_on.partial_fit(chunk)
    if number < 30:
        frozen.partial_fit(chunk)

# %%
# What is the best that could be reached? A model that is fitted to 6,000 rows from
# before the change, all at once, and scored on the chunks from before it. After the
# change, a part of the fall is due to the units: where a column doubles, its density
# halves, which is 0.7 nats. The rest is surprise, of which the model that goes on
# learning makes up for most.

rows = make_mixed(n_samples=6000, missing=0.1, random_state=1000)
whole = VAETransformer(n_components=3, density="joint", max_epochs=15, random_state=0)
whole.fit(rows)
before = [chunk for number, chunk in enumerate(read_chunks()) if number < CHANGE]
best = np.mean([whole.score(chunk) for chunk in before])
last = np.mean(scores["trained on each chunk"][CHANGE - 11 : CHANGE - 1])
print(f"chunks before the change: stream {last:.2f}, fitted at once {best:.2f} nats")

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
colours = ("#1f6fb2", "#e08e3c")
# both models are the same at first
widths = (3, 1.2)
for (name, values), colour, lw in zip(scores.items(), colours, widths, strict=True):
    ax.plot(range(1, N_CHUNKS), values, color=colour, label=name, lw=lw)
ax.hlines(best, 1, CHANGE, colors="#17191d", ls=":", label="fitted to 6,000 rows")
ax.axvline(CHANGE, color="#8a8f98", lw=1)
ax.text(CHANGE + 0.5, ax.get_ylim()[0] + 0.1, "prices double", color="#55585f")
ax.set(
    title="Every chunk is scored before it is trained on",
    xlabel="chunk of 200 rows",
    ylabel="score, nats per row (higher is better)",
)
_ = ax.legend(frameon=False, loc="lower left")
plt.show()
