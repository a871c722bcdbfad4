"""What a fitted estimator says of itself: `summary`, and what a fit notes for it.

Facts are read from fitted attributes alone, by `_facts`; `_lines` puts them in words,
for the text and the HTML of a `Summary`.
"""

from ._record import FitRecord
from ._summary import Summary, SummaryMixin

__all__ = ["FitRecord", "Summary", "SummaryMixin"]
