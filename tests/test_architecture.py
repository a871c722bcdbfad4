import ast
import subprocess
import sys
from pathlib import Path

from source_code import walk_code

import skvae

PACKAGE = Path(skvae.__file__).parent

# a room may import only from lines further down
LAYERS = [
    {"__init__"},
    {"plots", "export", "_outliers"},
    {"_estimator"},
    {"_parameters", "_training"},
    {"callbacks", "objectives"},
    {"_model"},
    {"latents", "likelihoods"},
    {"networks", "_start", "_columns", "_replay"},
    {"_closed_form", "_distributions"},
    {"_utils", "datasets", "metrics"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def list_sources():
    """Return (name of the room, path) of every file; a folder is one room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def find_imports(path):
    """Return the modules of the package that a file imports, wherever it does.

    Imports for checkers of types alone do not count.
    """
    found = set()
    # how many dots lead to the package: inside a folder one dot stays in the room
    depth = len(path.relative_to(PACKAGE).parts)
    for node in walk_code(path):
        if isinstance(node, ast.ImportFrom) and 0 < node.level < depth:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] != "skvae":
                continue
            names = parts[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            names = [(p[1:2] or ["__init__"])[0] for p in parts if p[0] == "skvae"]
        else:
            continue
        found |= {name.split(".")[0] for name in names}
    return found


def get_file(path):
    """Return the path of a file inside the package, with slashes."""
    return path.relative_to(PACKAGE).as_posix()


def test_every_room_has_its_layer():
    assert {room for room, _ in list_sources()} == set(LEVEL)


def test_rooms_and_layers_are_few():
    entries = [p for p in PACKAGE.iterdir() if p.name != "__pycache__"]
    assert len(entries) <= 22
    assert len(LAYERS) <= 10


def test_rooms_import_from_layers_below_only():
    upward = [
        f"{room} imports {name}"
        for room, path in list_sources()
        for name in sorted(find_imports(path))
        if LEVEL[name] <= LEVEL[room]
    ]
    assert upward == []


def find_outside(path):
    """Return the top-level names of the other packages that a file imports."""
    found = set()
    for node in walk_code(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_skorch_is_used_around_the_net_alone():
    users = {get_file(p) for _, p in list_sources() if "skorch" in find_outside(p)}
    assert users <= {
        "_training/_net.py",
        "_training/_sklearn_callbacks.py",
        "_training/_step.py",
        "callbacks.py",
    }


def test_closed_forms_and_tables_know_no_torch():
    rooms = {"_closed_form", "_columns", "datasets"}
    files = {"_training/_splits.py", "_utils/_missing.py", "_utils/_warnings.py"}
    assert files <= {get_file(path) for _, path in list_sources()}
    for room, path in list_sources():
        is_free = room in rooms or get_file(path) in files
        assert not is_free or "torch" not in find_outside(path)


def test_private_names_of_scikit_learn_are_confined():
    private = []
    for room, path in list_sources():
        for node in walk_code(path):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            if node.module.split(".")[0] != "sklearn":
                continue
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            if any(part.startswith("_") for part in parts):
                private.append(room)
    assert set(private) <= {"_estimator", "_outliers", "_columns"}


def test_names_that_versions_of_scikit_learn_lack_are_guarded_in_one_file():
    guarded = {"callback", "validate_data"}
    users = set()
    for _, path in list_sources():
        for node in walk_code(path):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            if parts[0] == "sklearn" and guarded & set(parts):
                users.add(get_file(path))
    assert users == {"_utils/_compat.py"}


def test_import_loads_neither_torch_nor_skorch():
    code = (
        "import sys, skvae; "
        "print(sorted({'torch', 'skorch', 'matplotlib', 'polars'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    assert result.stdout.strip() == "[]"


def test_submodules_are_loaded_when_asked_for():
    code = "import sys, skvae; skvae.likelihoods; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    assert result.stdout.strip() == "True"
