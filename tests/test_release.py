"""All files of a release name the same version and dependencies."""

import runpy
from pathlib import Path

import pytest

import skvae

SCRIPT = Path(__file__).resolve().parents[1] / "tools/release.py"
pytest.importorskip("tomllib")


def load(monkeypatch, **changed):
    """Return the functions of the script, for which some files have another text."""
    names = runpy.run_path(str(SCRIPT))
    read = names["read"]

    def read_changed(name):
        text = read(name)
        for old, new in changed.get(name, []):
            assert old in text
            text = text.replace(old, new)
        return text

    monkeypatch.setitem(names["check_files"].__globals__, "read", read_changed)
    return names


def test_files_agree(monkeypatch):
    assert load(monkeypatch)["check_files"]() == skvae.__version__


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("CITATION.cff", f"version: {skvae.__version__}", "version: 9.9"),
        ("CHANGELOG.md", f"## [{skvae.__version__}]", "## [9.9]"),
        ("tools/conda/recipe.yaml", "- skorch >=", "- skorch >=9."),
        ("pyproject.toml", '"skorch>=', '"skorch>=9.'),
    ],
)
def test_files_that_differ_are_named(name, old, new, monkeypatch):
    check = load(monkeypatch, **{name: [(old, new)]})["check_files"]
    with pytest.raises(SystemExit, match=name.replace("pyproject.toml", "recipe")):
        check()


def test_the_example_of_the_readme_is_a_script(monkeypatch):
    example = load(monkeypatch)["read_example"]()
    assert "VAETransformer" in example
    compile(example, "README.md", "exec")
