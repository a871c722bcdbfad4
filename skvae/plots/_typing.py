"""Types of what plots take and keep; imported where types are checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import ArrayLike, NDArray

from .._utils._typing import Floats as Floats
from .._utils._typing import RandomState as RandomState
from .._utils._typing import Table as Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# axes of several panels, or one whose place they share
AxesOrMany: TypeAlias = "Axes | NDArray[Any] | Sequence[Axes]"
# the figure, or a part of it (SubFigure) in which axes were given
AnyFigure: TypeAlias = "Figure | Any"
# names or numbers of columns of a table
Columns: TypeAlias = Iterable[str | int] | int
Components: TypeAlias = Sequence[int] | NDArray[Any]
# a Series too
Values: TypeAlias = ArrayLike | Sequence[Any]
# None where a plot has no such part. Types cannot tell when: with `X | MaybeNone`
# checkers know the attributes of X, and ask for no test
MaybeNone: TypeAlias = Any
