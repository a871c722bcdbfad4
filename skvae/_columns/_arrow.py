"""Schemas of pyarrow tables: what data frames of pandas do not keep of them."""

import json

from ._containers import get_container
from ._wrappers import unwrap


def learn_schema(X):
    """Return a dict of what a pyarrow table has beside names and types, or None.

    For every column it has its metadata, whether it may have nulls, and its type where
    pandas does not read it as it is.
    """
    if get_container(X) != "pyarrow":
        return None
    import pandas as pd

    types = [pd.ArrowDtype(t) if "view" in str(t) else None for t in X.schema.types]
    return {
        "metadata": X.schema.metadata,
        "fields": [field.metadata for field in X.schema],
        "nullable": [field.nullable for field in X.schema],
        "types": types,
    }


def apply_schema(table, schema, like=None):
    """Return a pyarrow table with what `learn_schema` has returned of another.

    `like` is None or a table of the same rows, whose metadata it gets: it may have an
    index of pandas, which is that of its rows.
    """
    import pyarrow as pa

    like = None if like is None else unwrap(like)
    metadata = _drop_index(schema["metadata"])
    if like is not None and get_container(like) == "pyarrow":
        is_alike = like.column_names == table.column_names
        metadata = like.schema.metadata if is_alike else metadata
    parts = zip(schema["fields"], schema["nullable"], schema["types"], strict=True)
    fields, columns = [], []
    for name, column, part in zip(
        table.column_names, table.columns, parts, strict=True
    ):
        own, nullable, view = part
        if view is not None:
            # earlier versions cannot cast to views
            column = pa.array(column.to_pylist(), view.pyarrow_dtype)
        is_open = nullable or column.null_count > 0
        fields.append(pa.field(name, column.type, is_open, own))
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata))


def _drop_index(metadata):
    """Return the metadata of a schema without the index that pandas has counted."""
    if metadata is None or b"pandas" not in metadata:
        return metadata
    found = json.loads(metadata[b"pandas"])
    # an index of other values is a column
    names = [name for name in found["index_columns"] if isinstance(name, str)]
    text = json.dumps(found | {"index_columns": names})
    return metadata | {b"pandas": text.encode()}
