"""What the documents say is there, and what they show runs."""

import doctest
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

import skvae

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
STORIES = [path for path in EXAMPLES if path.name.startswith("plot_")]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [name for name in skvae.__all__ if inspect.ismodule(getattr(skvae, name))]


def run_example(path, tmp_path, *arguments):
    """Return what a script prints, run in an empty folder with warnings as errors."""
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": search,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *map(str, arguments)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def api():
    return (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_api_page_is_up_to_date():
    command = [sys.executable, str(ROOT / "tools" / "make_api_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_api_page_has_the_registries(api):
    names = set(re.findall(r"^Registry `(\w+)`:$", api, re.MULTILINE))
    assert names == {"ACTIVATIONS", "LATENTS", "LIKELIHOODS", "NETWORKS", "OBJECTIVES"}


@pytest.mark.parametrize("name", ["VAETransformer", "VAEOutlierDetector"])
def test_api_page_names_what_a_fitted_estimator_has(api, name):
    fitted = getattr(skvae, name)(max_epochs=1, random_state=0).fit(load_iris().data)
    for name in dir(fitted):
        if not re.match(r"_|set_\w+_request$", name):
            assert re.search(rf"`{name}[`(]", api), name


@pytest.mark.parametrize("module", MODULES)
def test_api_page_names_the_contents_of_every_module(api, module):
    contents = import_module(f"skvae.{module}")
    for name, value in vars(contents).items():
        is_own = str(getattr(value, "__module__", "")).startswith(contents.__name__)
        if is_own and not name.startswith("_"):
            assert re.search(rf"`{name}[`(]", api), name


def test_ten_lines_of_readme_run():
    blocks = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(blocks) == 1
    test = doctest.DocTestParser().get_doctest(
        blocks[0], {"__name__": "__main__"}, "README.md", str(README), 0
    )
    assert 5 <= len(test.examples) <= 12
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=sys.stderr.write).failed == 0


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (
            "main",
            'python -m pip install -c constraints.txt -e ".[plots]" '
            "&& python examples/quickstart.py",
        ),
        (
            "test",
            'python -m pip install -c constraints.txt -e ".[test,lint,plots]" '
            "&& python -m pytest",
        ),
    ],
)
def test_readme_has_both_commands(name, command):
    text = README.read_text(encoding="utf-8")
    assert text.count(f"<!-- {name} command -->\n```bash\n{command}\n```\n") == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def _list_anchors(page):
    """Return the anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_of_relative_links_exist(page):
    for target in re.findall(
        r"\]\(([^)\s]*#[^)\s]+)\)", page.read_text(encoding="utf-8")
    ):
        path, _, anchor = target.partition("#")
        where = page.parent / path if path else page
        if not target.startswith("http") and where.suffix == ".md":
            assert anchor in _list_anchors(where), target


def test_page_of_promises_names_tests_that_exist():
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*.py")]
    for name in re.findall(r"`(tests/\w+\.py)`", page):
        assert (ROOT / name).exists(), name
    names = re.findall(r"`(test_\w+)`", page)
    assert len(names) > 20
    for name in names:
        assert any(f"def {name}(" in source for source in sources), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_compiles_and_stays_offline(path):
    source = path.read_text(encoding="utf-8")
    compile(source, path.name, "exec")
    assert not re.search(r"\bfetch_\w+|urllib|requests", source)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.name)
def test_story_has_text_cells_and_runs(path, tmp_path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n# %%\n") >= 2
    assert "plt.subplots(" in source
    script = ROOT / "tools" / "run_examples.py"
    printed = run_example(script, tmp_path, path.stem, "--save", "pictures")
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert printed.count("picture: ") == len(pictures) >= 1
    for picture in pictures:
        assert picture.name.startswith(f"{path.stem}_")
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_quickstart_runs_and_saves_its_picture_where_told(tmp_path):
    picture = tmp_path / "new" / "picture.png"
    printed = run_example(ROOT / "examples" / "quickstart.py", tmp_path, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    scores = dict(re.findall(r"^ +(PCA|FactorAnalysis|VAE) +(-[\d.]+)$", printed, re.M))
    assert float(scores["VAE"]) > float(scores["FactorAnalysis"])
    assert float(scores["VAE"]) > float(scores["PCA"])
