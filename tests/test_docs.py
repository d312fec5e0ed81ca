"""The documentation runs: its examples, its commands, its links, and the examples of docstrings.

A page's examples share one namespace and run from top to bottom in an empty folder of their own.
Pictures are bundled ones, by name. Four words after the language of a fence change how it runs:

* `warns=Category`: it must raise this warning, and the page must mention the category;
* `file=name.py`: it is also written to that file, for later fences and commands;
* `not-run`: it is skipped. The page must say why, in a line that begins with "Not run here";
* `needs=zarr`: the page is skipped where that optional package is missing, or older than needed.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import shlex
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from typer.testing import CliRunner

import torchattr
from torchattr import errors
from torchattr.cli import app
from torchattr.kernels.dispatch import BACKENDS
from torchattr.layers import OPERATIONS
from torchattr.layers import registry as rule_registry
from torchattr.layers.fusion import FUSED_PAIRS
from torchattr.layers.operations.parsers import CALL_PATTERNS
from torchattr.methods import registry as method_registry
from torchattr.models.lite0 import PACKAGE as PRETRAINED
from torchattr.web.panels.panel import PANELS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(torchattr.__file__).parent
PAGES = sorted(
    (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.md"))
)
OTHERS = [page for page in PAGES if page != ROOT / "README.md"]
"""The pages whose examples run apart from their commands."""
MODULES = sorted(
    ".".join(("torchattr", *file.relative_to(PACKAGE).with_suffix("").parts))
    for file in PACKAGE.rglob("*.py")
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^ *(?P=ticks) *$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
SOURCE = re.compile(r"<(?:img|a|source)\b[^>]*\b(?:src|href|srcset)=\"(?P<target>[^\"]+)\"")
HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)
SHELLS = ("console", "bash", "sh", "shell")
PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d+")

NEEDED = {"zarr": "3"}
"""The versions of optional packages that do not exist for every Python that is supported."""

NEEDING = {"zarr": ("torchattr.bulk.maps", "torchattr.bulk.ray_engine", "torchattr.bulk.run")}
"""The modules whose examples need them."""

WITHOUT_EXAMPLE = {
    "Attribution": "abstract: its subclasses have examples",
    "Call": "only made by the engine: docs/add-a-rule.md shows its attributes",
}
WITHOUT_PAPER = {
    "feature_ablation": "older than any citable paper",
    "fem": "its paper has no DOI of its own: the docstring has its number in HAL",
    "grad_cam_elementwise": "from a library: no paper describes it",
    "LayerActivation": "returns what the model computed: there is no method to cite",
}


@dataclass(frozen=True)
class Fence:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    body: str

    @property
    def runs(self) -> bool:
        return "not-run" not in self.words

    @property
    def commands(self) -> list[str]:
        """The lines that call the package's command, without the prompt."""
        lines = self.body.replace("\\\n", " ").splitlines()
        plain = [line.strip().removeprefix("$ ").partition("  #")[0] for line in lines]
        return [line for line in plain if line == "torchattr" or line.startswith("torchattr ")]

    @property
    def warns(self) -> str | None:
        return self.option("warns")

    def option(self, name: str) -> str | None:
        return dict(word.split("=", 1) for word in self.words if "=" in word).get(name)

    def write(self) -> None:
        """Write the file that the fence stands for, if it names one."""
        if file := self.option("file"):
            Path(file).write_text(self.body, encoding="utf-8")


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, *words = match["info"].split() or [""]
        line = text.count("\n", 0, match.start("body"))
        found.append(Fence(page, line, language, tuple(words), textwrap.dedent(match["body"])))
    return found


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def skip_without(package: str) -> None:
    pytest.importorskip(package, NEEDED[package], reason=f"{package} {NEEDED[package]} is missing")


def skip_what_is_missing(page: Path) -> None:
    for package in {found for fence in fences(page) if (found := fence.option("needs"))}:
        skip_without(package)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to run in; registrations and the random state are restored afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with ExitStack() as restored:
        restored.enter_context(BACKENDS.temporary())
        rules = deepcopy(rule_registry._registries)
        restored.enter_context(mock.patch.dict(rule_registry._registries, rules))
        restored.enter_context(mock.patch.dict(OPERATIONS))
        restored.enter_context(mock.patch.dict(CALL_PATTERNS))
        restored.enter_context(mock.patch.dict(rule_registry._kind_rules))
        for registry in (FUSED_PAIRS, method_registry.METHODS, PANELS):
            restored.enter_context(registry.temporary())
        restored.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(0)
        yield tmp_path
    for module in {path.stem for path in tmp_path.glob("*.py")}:
        sys.modules.pop(module, None)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no connection leave this machine."""

    def connect(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def can_run() -> Iterator[Callable[[str], bool]]:
    """Yield a check that code needs no weights that are missing; skip at the end if some did."""
    left_out = []

    def asked(text: str) -> bool:
        missing = "lite0" in text and find_spec(PRETRAINED) is None
        left_out.extend([text] * missing)
        return not missing

    yield asked
    if left_out:
        pytest.skip(f"{PRETRAINED} is not installed (extra pretrained), so not all was run")


def run(fence: Fence, namespace: dict[str, Any]) -> None:
    """Run a fence; one with prompts is also compared with its expected output."""
    fence.write()
    if fence.body.lstrip().startswith(">>>"):
        parser, where = doctest.DocTestParser(), name(fence.page)
        test = parser.get_doctest(fence.body, {}, where, str(fence.page), fence.line)
        test.globs = namespace  # The parser would copy them: later fences need what this one sets.
        check(test)
        return
    code = compile("\n" * fence.line + fence.body, str(fence.page), "exec", dont_inherit=True)
    exec(code, namespace)


def check(test: doctest.DocTest) -> int:
    """Run one doctest in its own namespace; return the number of its examples."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    result = runner.run(test, out=report.append, clear_globs=False)
    assert result.failed == 0, "".join(report)
    return result.attempted


@pytest.mark.parametrize("page", OTHERS, ids=name)
def test_examples_of_a_page_run(page: Path, folder: Path, can_run: Callable[[str], bool]) -> None:
    skip_what_is_missing(page)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for fence in fences(page):
        if fence.language != "python" or not fence.runs or not can_run(fence.body):
            continue
        if fence.warns is None:
            run(fence, namespace)
        else:
            with pytest.warns(getattr(errors, fence.warns)):
                run(fence, namespace)


@pytest.mark.parametrize("page", OTHERS, ids=name)
def test_commands_of_a_page_run(page: Path, folder: Path, can_run: Callable[[str], bool]) -> None:
    skip_what_is_missing(page)
    blocks = [fence for fence in fences(page) if fence.runs]
    commands = [line for fence in blocks if fence.language in SHELLS for line in fence.commands]
    for fence in blocks:
        fence.write()
    for command in filter(can_run, commands):
        execute(command)


def execute(command: str) -> None:
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, f"{command}\n{result.output}"


def test_the_readme_runs_from_top_to_bottom(
    folder: Path, offline: None, can_run: Callable[[str], bool]
) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for fence in fences(ROOT / "README.md"):
        if fence.language == "python" and can_run(fence.body):
            run(fence, namespace)
        for command in filter(can_run, fence.commands if fence.language in SHELLS else ()):
            execute(command)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_says_what_its_fences_leave_out(page: Path) -> None:
    text = prose(page)
    for fence in fences(page):
        assert fence.warns is None or fence.warns in text, f"{name(page)} never says {fence.warns}"
        assert fence.runs or "Not run here" in text, f"{name(page)} never says what is not run"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = prose(page)
    targets = [match["target"] for pattern in (LINK, SOURCE) for match in pattern.finditer(text)]
    broken = [target for target in targets if not leads_somewhere(page, target)]
    assert not broken, f"{name(page)} has broken links: {broken}"


def leads_somewhere(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = [match["text"] for match in HEADING.finditer(prose(page))]
    kept = [re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


def test_a_broken_link_and_a_missing_anchor_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `thing`, two\n", encoding="utf-8")
    assert leads_somewhere(page, "#one-thing-two")
    assert leads_somewhere(page, "page.md#one-thing-two")
    assert leads_somewhere(page, "https://example.org")
    assert not leads_somewhere(page, "#three")
    assert not leads_somewhere(page, "other.md")


def test_a_wrong_example_is_noticed(folder: Path) -> None:
    page = ROOT / "page.md"
    with pytest.raises(AssertionError):
        run(Fence(page, 0, "python", (), ">>> 1 + 1\n3\n"), {})
    with pytest.raises(ZeroDivisionError):
        run(Fence(page, 0, "python", (), "1 / 0\n"), {})


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module: str, folder: Path) -> None:
    for package, modules in NEEDING.items():
        if module in modules:
            skip_without(package)
    found = importlib.import_module(module.removesuffix(".__init__"))
    for test in doctest.DocTestFinder(exclude_empty=True).find(found):
        skipped = [one.source for one in test.examples if one.options.get(doctest.SKIP)]
        assert not skipped, f"{test.name} has examples that never run: {skipped}"
        if test.examples:
            check(test)


def exported() -> dict[str, Any]:
    """Return the classes and functions of the top level, without data and modules."""
    values = {key: getattr(torchattr, key) for key in dir(torchattr) if not key.startswith("_")}
    return {
        key: value
        for key, value in values.items()
        if inspect.isclass(value) or inspect.isfunction(value)
    }


@pytest.mark.parametrize("key", sorted(exported()))
def test_each_public_name_has_a_docstring_with_an_example(key: str) -> None:
    value = exported()[key]
    assert value.__doc__, f"torchattr.{key} has no docstring"
    if inspect.isclass(value) and issubclass(value, (Exception, Warning)):
        return  # Raised, never called: the places that raise it say when.
    text = f"{value.__doc__}{getattr(getattr(value, 'attribute', None), '__doc__', '')}"
    assert (">>>" in text) != (key in WITHOUT_EXAMPLE), (
        f"torchattr.{key} needs an example in its docstring, or a reason not to have one, not both"
    )


def methods() -> dict[str, type[torchattr.Attribution]]:
    """Return all methods, by their registered name, or by their class name if they have none."""
    bases = ("Attribution", "ClassActivationMap", "GradientAttribution")
    abstract = tuple(getattr(torchattr, base) for base in bases)
    classes = [value for value in exported().values() if inspect.isclass(value)]
    found = [one for one in classes if issubclass(one, abstract) and one not in abstract]
    return {method_registry.name_of(one): one for one in found} | dict(
        method_registry.registered_methods()
    )


@pytest.mark.parametrize("key", sorted(methods()))
def test_each_method_names_its_paper_and_what_it_is_not(key: str) -> None:
    text = methods()[key].__doc__ or ""
    assert "*not*" in text, f"{key} does not say what its result is *not*"
    assert bool(PAPER.search(text)) != (key in WITHOUT_PAPER), (
        f"{key} must cite its paper as arXiv:... or doi:..., or have a reason not to, not both"
    )


def test_features_name_everything_public() -> None:
    """Except errors and warnings, which users meet rather than look up."""
    features = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", features))
    errors_and_warnings = {key for key in torchattr.__all__ if hasattr(errors, key)}
    assert set(torchattr.__all__) - errors_and_warnings <= named


def test_contributing_lists_the_packages_in_their_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("### The packages")[2].partition("`benchmarks/`")[0]
    listed = [
        name
        for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    rooms = literal(ROOT / "tests" / "test_architecture.py", "ROOMS")
    assert listed == [name for name in rooms if name and not name.startswith("_")]


def test_contributing_names_classes_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    classes = {
        name
        for file in files
        for name in re.findall(r"^class (\w+)", file.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`((?:[A-Z][a-z]+)+)`", text)) - {"None", "TorchFunctionMode"}
    assert named <= classes


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_of_the_package_exist(page: Path) -> None:
    paths = set(re.findall(r"`((?:torchattr|benchmarks)/[\w/]+(?:\.py|/))`", prose(page)))
    made_up = {"torchattr/cli/field.py"} if page.stem == "add-a-command" else set()
    assert {path for path in paths - made_up if not (ROOT / path).exists()} == set()


def literal(file: Path, variable: str) -> Any:
    """Return the value of a constant of a module without importing it."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
            return ast.literal_eval(node.value)
    raise LookupError(variable)


def test_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert all(f"\n[{version}]: https://" in text for version in versions)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


def test_citation_carries_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f"version: {version[1]}\n" in text
