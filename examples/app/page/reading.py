"""From the bytes of a file to a data frame, or to one sentence that says why not."""

import csv
import io
import re
from itertools import islice

import pandas as pd

MAX_MEGABYTES = 50
SEPARATORS = ",;\t|"
# the first bytes of files that are often uploaded in place of a CSV file
MAGIC = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}


class BadFileError(ValueError):
    """A file cannot be read as a table; the message is shown on the page."""


def read_csv(data):
    """Return a data frame, its separator, and notes on how a file was read."""
    text, notes = decode(data)
    separator = find_separator(text)
    header = check_lines(text, separator)
    names = [" ".join(name.split()) for name in header]
    has_header = not all(is_number(name) for name in names if name)
    if not has_header:
        names = [""] * len(names)
        notes.append("The first line holds numbers, so the columns have no names.")
    names = [name or f"column {place}" for place, name in enumerate(names, 1)]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise BadFileError(
            f"Columns need names of their own, but {quote(repeated)} occurs twice."
        )
    X = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        names=names,
        header=0 if has_header else None,
        index_col=False,
        skipinitialspace=True,
        na_values=["?"],
        low_memory=False,
    )
    if not len(X):
        raise BadFileError("The file has names of columns, but no rows.")
    return X.dropna(how="all"), separator, notes


def decode(data):
    """Return the text of a file, and a note if it is not UTF-8."""
    if not data.strip():
        raise BadFileError("The file is empty.")
    if len(data) > MAX_MEGABYTES * 2**20:
        size = f"{len(data) / 2**20:.0f} MB"
        raise BadFileError(f"The file has {size}; the page takes {MAX_MEGABYTES} MB.")
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            raise BadFileError(f"The file is {kind}; save the table as CSV.")
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ["utf-16"] if is_wide else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise BadFileError("The file is binary or in an unknown encoding; use UTF-8.")
    if any(ord(sign) < 32 and sign not in "\t\n\r\f" for sign in set(text)):
        raise BadFileError("The file is binary, not a CSV file.")
    start = text.lstrip()[:15].lower()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        raise BadFileError("The file is a web page or XML, not a CSV file.")
    notes = []
    if encoding == "cp1252":
        notes.append(
            "The file is not UTF-8 and was read as Windows-1252; if letters are "
            "wrong, save it as UTF-8."
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # what Excel writes for itself
    return re.sub(r"\Asep=.\n", "", text), notes


def read_lines(text, separator, **options):
    """Return an iterator over the fields of lines."""
    lines = io.StringIO(text)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True, **options)


def find_separator(text):
    """Return the separator that cuts the first lines into equally many fields."""

    def rate(separator):
        try:
            lines = islice(filter(None, read_lines(text[:200_000], separator)), 50)
            widths = [len(fields) for fields in lines]
        except csv.Error:
            return False, 0, 0
        equal = widths.count(widths[0]) / len(widths)
        return widths[0] > 1, equal, widths[0]

    return max(SEPARATORS, key=rate)


def check_lines(text, separator):
    """Return the fields of the first line, as many as all other lines have."""
    header: list[str] = []
    reader = read_lines(text, separator, strict=True)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            message = f"Line {reader.line_num} is not that of a CSV file: {error}."
            raise BadFileError(message) from error
        if fields is None:
            return header
        if not fields:
            continue
        header = header or fields
        if len(header) == 1:
            raise BadFileError(
                "The file has one column; at least two are needed, separated by "
                "commas, semicolons, tabs or vertical bars."
            )
        if len(fields) != len(header):
            raise BadFileError(
                f"Line {reader.line_num} has {len(fields)} values, but the first line "
                f"has {len(header)}."
            )


def is_number(text):
    """Whether a text is a number, also one with a decimal comma."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def quote(names):
    """Return some names for a message."""
    shown = [name if len(name) < 40 else f"{name[:39]}…" for name in sorted(names)]
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return ", ".join(f"“{name}”" for name in shown[:3]) + more
