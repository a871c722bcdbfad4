"""Distributions that torch lacks, or has in a form that is slow or imprecise.

Nothing here depends on encoders, decoders or data sets.
"""
