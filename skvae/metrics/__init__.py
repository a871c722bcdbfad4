"""Scores in the units that papers report, and of drawn rows beside real ones.

Tables are data frames of pandas, polars, narwhals or pyarrow, or arrays. Values are
compared: dtypes, and the order of columns that have names, do not matter.
"""

from ._bits import bits_per_dimension
from ._closest_record import closest_record_share, distance_to_closest_record
from ._column_shapes import column_shape_errors
from ._pair_trends import pair_trend_errors
from ._train_on_synthetic import train_on_synthetic_scores
from ._two_sample import two_sample_auc

__all__ = [
    "bits_per_dimension",
    "closest_record_share",
    "column_shape_errors",
    "distance_to_closest_record",
    "pair_trend_errors",
    "train_on_synthetic_scores",
    "two_sample_auc",
]
