"""The site: pages, links, and what leads there. CI builds it with Sphinx."""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae.latents import LATENTS
from skvae.likelihoods import LIKELIHOODS
from skvae.networks import NETWORKS
from skvae.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MEMBERS = [
    value
    for registry in (LATENTS, LIKELIHOODS, NETWORKS, OBJECTIVES)
    for value in registry.values()
]


@pytest.fixture(scope="module")
def site():
    """Return a function that imports a module of `tools/docs_site`."""
    folder = str(ROOT / "tools")
    sys.path.insert(0, folder)
    try:
        yield lambda name: import_module(f"docs_site.{name}")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def sources(site):
    return site("pages").make_sources()


@pytest.mark.parametrize("name", ["VAETransformer", "VAEOutlierDetector"])
def test_html_of_estimators_links_to_their_pages(name, sources):
    estimator = getattr(skvae, name)()
    link = estimator._get_doc_link()
    assert re.fullmatch(rf"https://\S+/reference/skvae\.{name}\.html", link)
    page = f"reference/{link.rpartition('/')[2]}".replace(".html", ".rst")
    assert page in sources
    assert link in estimator._repr_html_()
    assert link in make_pipeline(StandardScaler(), estimator)._repr_html_()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_members_link_to_their_pages(member, sources):
    link = member()._get_doc_link()
    page = f"reference/{link.rpartition('/')[2]}".replace(".html", ".rst")
    assert page in sources


def test_classes_of_users_do_not_link_to_the_site():
    class Mine(skvae.VAETransformer):
        pass

    assert Mine()._get_doc_link() == ""


def test_every_public_name_has_an_api_page(sources):
    for name in skvae.__all__:
        value = getattr(skvae, name)
        if name == "__version__":
            continue
        assert f"reference/skvae.{name}.rst" in sources
        assert f"skvae.{name}\n" in sources["reference/index.rst"]
        if inspect.ismodule(value):
            for inner in getattr(value, "__all__", ()):
                is_member = inspect.isclass(getattr(value, inner))
                if is_member and getattr(value, inner).__module__.startswith("skvae"):
                    assert f"reference/skvae.{name}.{inner}.rst" in sources, inner


@pytest.mark.parametrize("name", ["VAETransformer", "VAEOutlierDetector"])
def test_api_pages_have_every_method(name, sources):
    page = sources[f"reference/skvae.{name}.rst"]
    for method, value in inspect.getmembers(getattr(skvae, name), callable):
        if not method.startswith("_") and not re.match(r"set_\w+_request$", method):
            role = rf"\.\. automethod:: {name}\.{method}\n|``{method}``"
            assert re.search(role, page), value


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_api_pages_of_members_list_methods_and_properties_alone(member, sources):
    page = f"reference/{member()._get_doc_link().rpartition('/')[2]}"
    text = sources[page.replace(".html", ".rst")]
    for name in re.findall(
        rf"auto(?:method|property):: {member.__name__}\.(\w+)", text
    ):
        value = inspect.getattr_static(member, name)
        assert callable(value) or isinstance(value, (property, classmethod)), name
        assert value.__doc__ or not isinstance(value, property), name


def test_every_page_is_in_a_table_of_contents(sources):
    listed = {"index"}
    for text in sources.values():
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.S):
            listed.update(re.findall(r"^/(\S+)$", block, re.M))
    pages = {name.removesuffix(".md") for name in sources if name.endswith(".md")}
    assert pages - listed == set()


def test_every_example_is_listed_for_the_order_of_the_gallery(site):
    order = site("gallery").StoryOrder(None)
    for path in ROOT.glob("examples/*.py"):
        assert path.name in order._names
    assert order("plot_mixed_table.py") < order("plot_halving.py") < order("a.py")


def test_folders_of_examples_are_not_galleries():
    headers = [*ROOT.glob("examples/*/README.md"), *ROOT.glob("examples/*/GALLERY*")]
    assert headers == []


def test_links_that_leave_docs_lead_where_the_site_has_them(site):
    rewrite = site("links").rewrite
    text = (
        "[a](../README.md) [b](../examples/plot_counts.py) [c](api.md) [d](#here)\n"
        "[e](user_guide/wide.md#sparse-tables) [f](https://x.org) [g](../SECURITY.md)\n"
        "`x[0](y)` [h](../examples)"
    )
    assert rewrite(text, DOCS) == (
        "[a](/index.md) [b](/auto_examples/plot_counts.rst) [c](/reference/index.rst)"
        " [d](#here)\n[e](/user_guide/wide.md#sparse-tables) [f](https://x.org)"
        " [g](https://github.com/skvae/skvae/blob/main/SECURITY.md)\n"
        "`x[0](y)` [h](/auto_examples/index.rst)"
    )


def test_front_page_is_the_readme(sources):
    assert "<!-- main command -->" in sources["index.md"]
    assert "](docs/" not in sources["index.md"]


def test_dead_links_are_found(site, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a id="top"></a><a href="b.html#x">1</a><a href="b.html#y">2</a>'
        '<img src="no.png"><a href="https://x.org">3</a><a href="#z">4</a>'
    )
    (tmp_path / "b.html").write_text('<p id="x"></p>')
    dead = site("dead_links").find_dead_links(tmp_path)
    assert dead == ["a.html: b.html#y", "a.html: no.png", "a.html: #z"]


def test_index_for_language_models_names_every_page(site, sources):
    llms = site("llms")
    text = llms.make_index()
    assert text.startswith("# skvae\n\n> ")
    for name in sources:
        if name.endswith(".md") and not name.endswith(("index.md", "guide.md")):
            assert f"/{name})" in text, name
    assert "](/" not in text
    assert llms.lead_to_site("[a](/auto_examples/plot_x.rst#y)") == (
        f"[a]({llms.ADDRESS}auto_examples/plot_x.html#y)"
    )


def test_versions_of_what_builds_the_site_are_fixed():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    fixed = (ROOT / "constraints.txt").read_text("utf-8")
    for line in project["optional-dependencies"]["docs"]:
        name = re.match(r"[\w-]+", line)[0]
        assert re.search(rf"^{name}==", fixed, re.M), name
