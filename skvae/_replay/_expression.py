"""Expression: what a program knows of a tensor."""

from dataclasses import dataclass

import torch


@dataclass(slots=True)
class Expression:
    """``scale * values + shift``; never changed.

    Values, which may be expanded, are in memory that the program fills, or that holds
    an input or a constant. ``number`` is the one value that a constant has everywhere.
    """

    values: torch.Tensor
    scale: float = 1.0
    shift: float = 0.0
    is_constant: bool = False
    number: float | None = None

    def view(self, values):
        """Return the same of a view of the values."""
        return Expression(values, self.scale, self.shift, self.is_constant, self.number)

    def expand(self, shape):
        """Return the same in another shape."""
        return (
            self if self.values.shape == shape else self.view(self.values.expand(shape))
        )

    def multiply(self, factor):
        """Return a multiple; None of zero, whose product with infinity is NaN."""
        if factor == 0:
            return None
        return Expression(self.values, self.scale * factor, self.shift * factor)

    def add(self, number):
        """Return the sum with a number."""
        return Expression(self.values, self.scale, self.shift + number)
