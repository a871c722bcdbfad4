"""Devices, seeds, missing cells, warnings, checks and nested parameters."""
