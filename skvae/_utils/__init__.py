"""Devices, seeds, missing values, warnings, checks and nested parameters."""
