"""Moments, linear models, mixtures and roots: what is fitted without networks."""
