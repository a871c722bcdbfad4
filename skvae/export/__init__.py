"""Fitted estimators in other formats: ONNX, and graphs of `torch.export`.

A file of ONNX has the columns' units and codes inside, and runs without this package,
scikit-learn and torch.
"""

from ._public import register_skl2onnx, to_onnx, to_torch

__all__ = ["register_skl2onnx", "to_onnx", "to_torch"]
