"""The syntax of the package's files, for tests of its architecture."""

import ast


def walk_code(path):
    """Yield the nodes of a file, without imports for checkers of types alone."""
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in nodes:
        yield node
        test = getattr(node, "test", None)
        if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            nodes += ast.iter_child_nodes(node)
