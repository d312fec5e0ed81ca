"""The site builds without a warning, links to what exists, and needs no other server."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

import torchattr
from torchattr.models.lite0 import PACKAGE as PRETRAINED

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "link": "href"}
"""What a browser fetches unasked."""
ELSEWHERE = {
    "torchattr.cli": "functions that make commands, which commands.md describes",
    "torchattr.models.collage": "how the bundled model and its scenes were made",
}
"""What pages import and the reference leaves out."""

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """The anchors of a page, its links, and what a browser fetches with it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.anchors, self.links, self.fetched = file, set(), [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if given.get("href") is not None:
            self.links.append(given["href"])
        if value := given.get(LOADED.get(tag, "")):
            self.fetched.append(value)
            self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("mkdocs", "material", "mkdocstrings", "nbconvert", "ipykernel", PRETRAINED):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir"]
    # The theme warns of a release of MkDocs that pyproject.toml excludes.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [*command, str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    # Pages for addresses that do not exist are served from any place, and link from the root.
    files = [file for file in sorted(folder.rglob("*.html")) if file.name != "404.html"]
    return SimpleNamespace(
        folder=folder, pages={file.resolve(): Page(file) for file in files}, said=built.stderr
    )


def leads_somewhere(site, page, link):
    if is_elsewhere(link):
        return link.startswith("https://")
    path, _, anchor = unquote(link).partition("#")
    target = (page.file.parent / path).resolve() if path else page.file.resolve()
    known = site.pages.get(target)
    return target.is_file() and (not anchor or known is None or anchor in known.anchors)


def is_elsewhere(link):
    return re.match(r"[a-z]+:|//", link) is not None and not link.startswith("data:")


def test_it_builds_without_a_word(site):
    assert site.said == ""
    assert (site.folder / "index.html").is_file()


def test_links_lead_somewhere(site):
    broken = [
        f"{page.file.relative_to(site.folder)}: {link}"
        for page in site.pages.values()
        for link in page.links
        if not link.startswith(("data:", "mailto:")) and not leads_somewhere(site, page, link)
    ]
    assert not broken, "\n".join(broken)
    first = next(iter(site.pages.values()))
    assert not leads_somewhere(site, first, "missing.html")
    assert not leads_somewhere(site, first, "#missing")


def test_nothing_is_fetched_from_another_server(site):
    fetched = {link for page in site.pages.values() for link in page.fetched if is_elsewhere(link)}
    styles = "".join(file.read_text(encoding="utf-8") for file in site.folder.rglob("*.css"))
    fetched |= set(re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", styles))
    assert not fetched


def imported_by_pages():
    """Yield the names that examples of pages import from this package, with their modules."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        for code in FENCE.findall(page.read_text(encoding="utf-8")):
            if code.lstrip().startswith(">>>"):
                code = "\n".join(re.findall(r"^(?:>>>|\.\.\.) ?(.*)$", code, re.MULTILINE))
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchattr"):
                    yield from ((node.module, alias.name) for alias in node.names)


def test_the_reference_has_every_public_name(site):
    anchors = {anchor for page in site.pages.values() for anchor in page.anchors}
    names = {f"torchattr.{name}" for name in torchattr.__all__}
    rooms = {file.parent.name for file in Path(torchattr.__file__).parent.glob("*/__init__.py")}
    for module, name in imported_by_pages():
        is_room = module == "torchattr" and name in rooms
        if not is_room and not module.startswith(tuple(ELSEWHERE)):
            names.add(f"{module}.{name}")
    assert len(names) > 150
    assert sorted(names - anchors) == []


def test_tutorials_come_first(site):
    text = (site.folder / "index.html").read_text(encoding="utf-8")
    places = [text.index(f'href="{page}.html"') for page in ("five-minutes", "faq", "concepts")]
    assert places == sorted(places)


def test_notebooks_show_their_results(site):
    for name in ("first-map", "what-misled-a-model", "your-rule-and-method"):
        page = site.pages[(site.folder / "notebooks" / f"{name}.html").resolve()]
        assert any(link.endswith(".png") and name in link for link in page.fetched)
        assert f"{name}.ipynb" in page.links
