"""Measurements as rows of a CSV file, one dict a row."""

import csv


def write_records(path, rows):
    """Write rows into a file; a row without a field leaves it empty."""
    fields = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
