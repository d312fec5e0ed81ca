"""The house rules that a machine can check: where imports point, and how long things are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import torchattr

PACKAGE = Path(torchattr.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    "errors",
    "core",
    "kernels",
    "layers",
    "incremental",
    "methods",
    "models",
    "show",
    "inspect",
    "preparation",
    "concepts",
    "results",
    "explanation",
    "evaluate",
    "robust",
    "runs",
    "bulk",
    "integrations",
    "captum",
    "quantus",
    "tf_cnnvis",
    "web",
    "cli",
    "_public",
    "",
    "__main__",
)
"""From the bottom to the top; each imports only what stands before it, also inside functions."""

OPEN = ("core", "errors", "models.collage")
"""What is imported by the name of a module; all other rooms only through their `__init__`."""

# A room inside a room: the engine of `layers` knows no rule.
INNER = {
    "layers": ("operations", "layouts", "", "rules"),
    "methods": ("_gradient", "_perturbation", ""),
}


def imported(path: Path) -> Iterator[str]:
    """Return the modules of this package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_own(alias.name))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if _is_own(node.module or ""):
                yield from (_source(node.module or "", alias.name) for alias in node.names)


def _source(module: str, name: str) -> str:
    """Return the module that a name is taken from: a face may call something like a module."""
    one = f"{module}.{name}"
    return one if one in MODULES and name not in _exported(MODULES[module]) else module


@cache
def _exported(face: Path) -> frozenset[str]:
    nodes = ast.parse(face.read_text()).body
    found = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return frozenset(
        alias.asname or alias.name
        for node in found
        for alias in node.names
        if f"{node.module}.{alias.name}" not in MODULES
    )


def _is_own(name: str) -> bool:
    return name.split(".")[0] == "torchattr"


def module_of(path: Path) -> str:
    parts = ("torchattr", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """Return the first part of a module's name below the package; the package itself is ''."""
    return (*module.split("."), "")[1]


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_downwards(path: Path) -> None:
    own = room_of(module_of(path))
    for module in imported(path):
        other = room_of(module)
        assert other == own or ROOMS.index(other) < ROOMS.index(own), f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_rooms_are_imported_through_their_face(path: Path) -> None:
    own = room_of(module_of(path))
    for module in imported(path):
        inside = module.removeprefix("torchattr.")
        through_face = "." not in inside or inside.startswith(OPEN)
        assert room_of(module) == own or through_face, f"{module} is not the face of its room"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_inner_rooms_keep_their_order(path: Path) -> None:
    own = module_of(path)
    order = INNER.get(room_of(own), ())
    if not order or path.name == "__init__.py":
        return
    for module in imported(path):
        if room_of(module) == room_of(own) and (at := _inner(module, order)) != _inner(own, order):
            assert at < _inner(own, order), f"{own} imports {module}"


def _inner(module: str, order: tuple[str, ...]) -> int:
    part = (*module.split("."), "", "")[2]
    return order.index(part if part in order else "")


def test_modules_do_not_import_in_circles() -> None:
    """Imports inside functions count, too; faces are left out, which import all of their room."""
    below = {
        module: {one for one in imported(path) if one != module and not _is_face(one)}
        for module, path in MODULES.items()
        if not _is_face(module)
    }
    while below:
        free = [one for one, others in below.items() if not others & set(below)]
        assert free, f"circles among {_circles(below)}"
        below = {one: others for one, others in below.items() if one not in free}


def _circles(below: dict[str, set[str]]) -> list[str]:
    """Return what is left when also what nothing left imports is taken away."""
    while loose := set(below) - set().union(*below.values()):
        below = {one: others for one, others in below.items() if one not in loose}
    return sorted(below)


def _is_face(module: str) -> bool:
    return MODULES[module].name == "__init__.py"


def test_class_names_are_unique() -> None:
    """But for those of `captum` and `quantus`, which are called as these libraries call them."""
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        if room_of(module) not in ("captum", "quantus"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


TESTS = Path(__file__).parent

COVERED_ELSEWHERE: dict[str, str] = {
    # core
    "_public": "test_package.py: the names that the package gives are tested there",
    "core.types": "methods/test_grad_cam.py: type aliases only, without behaviour",
    # kernels
    "kernels.triton.unpool": "kernels/triton/test_max_pool.py: each pool with its backward",
    # layers
    "layers.graph_trace": "layers/test_trace.py: what traces share, run by each kind",
    "layers.layouts.calls": "layers/layouts/test_tracker.py: reads calls for the tracker alone",
    "layers.layouts.sums": "layers/layouts/test_table.py: one table of functions, each compared"
    " with what it does to elements",
    "layers.layouts.views": "layers/layouts/test_table.py: as for sums",
    "layers.operations.parsers.activation": "layers/operations/parsers/test_table.py: each spelling"
    " against the module's",
    "layers.operations.parsers.linear": "layers/operations/parsers/test_gradients.py: each spelling"
    " against PyTorch's own gradient",
    "layers.operations.parsers.masks": "layers/operations/parsers/test_masked_relu.py: the ReLUs"
    " that masks make",
    "layers.operations.parsers.merge": "layers/operations/parsers/test_gradients.py: as for linear",
    "layers.operations.parsers.norm": "layers/operations/parsers/test_gradients.py: as for linear",
    "layers.operations.parsers.pool": "layers/operations/parsers/test_gradients.py: as for linear",
    "layers.operations.place": "layers/test_arrangement.py: what a walk over the graph writes down",
    "layers.moving_nodes": "layers/test_arrangement.py: which inputs are known not to be negative",
    "layers.operations.recurrent": "layers/operations/test_decompositions.py: the parts of layers",
    "layers.plain": "methods/test_shapley_cam.py: what is differentiated twice there",
    "layers.rule": "layers/rules/test_oracles.py: an abstract class and the default of all rules",
    "layers.rules.activation": "layers/rules/test_oracles.py: one table of oracles for all rules",
    "layers.rules.attention_scores": "layers/rules/relevance/test_identity.py: what rules of"
    " attention share, against its products",
    "layers.rules.batch_norm_relu": "layers/test_graph.py: both pairs against each rule alone",
    "layers.rules.conv": "layers/rules/test_oracles.py: as for activation",
    "layers.rules.deep_lift.attention": "layers/rules/deep_lift/test_rescale.py: one table of"
    " functions for all rules",
    "layers.rules.deep_lift.elementwise": "layers/rules/deep_lift/test_rescale.py: as for"
    " attention",
    "layers.rules.deep_lift.norms": "layers/rules/deep_lift/test_rescale.py: as for attention",
    "layers.rules.deep_lift.pools": "layers/rules/deep_lift/test_rescale.py: as for attention",
    "layers.rules.deep_lift.products": "layers/rules/deep_lift/test_rescale.py: as for attention",
    "layers.rules.linear": "layers/rules/test_oracles.py: as for activation",
    "layers.rules.relu": "layers/rules/test_oracles.py: as for activation",
    "layers.rules.relu_max_pool": "layers/test_graph.py: both pairs against each rule alone",
    "layers.training": "layers/test_mode.py: refusals need a whole forward",
    # incremental
    # methods
    "methods._cam.ablated": "methods/test_ablation_cam.py: what the method is made of",
    "methods._cam.augmented": "methods/test_class_activation_map.py: an option of all maps",
    "methods._cam.based": "methods/test_finer_cam.py: for two methods, with the same refusals",
    "methods._cam.channel_scores": "methods/test_score_cam.py: what three methods share",
    "methods._cam.fusing": "methods/test_class_activation_map.py: an option of all maps",
    "methods._cam.positions": "methods/test_class_activation_map.py: a refusal of several methods",
    "methods._cam.principal": "methods/test_class_activation_map.py: each component against a"
    " decomposition by NumPy",
    "methods._cam.replaced": "methods/test_ablation_cam.py: by models that run whole",
    "methods._cam.second_order": "methods/test_smooth_grad_cam_plus_plus.py: by the moments",
    "methods._relevance.by_composite": "methods/test_lrp.py: what its constructor takes",
    "methods.eigen_cam": "methods/test_class_activation_map.py: one table of formulas",
    "methods.eigen_grad_cam": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.fem": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.grad_cam_elementwise": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.grad_cam_plus_plus": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.hires_cam": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.kpca_cam": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.layer_cam": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.random_cam": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.xgrad_cam": "methods/test_class_activation_map.py: as for eigen_cam",
    "methods.is_cam": "methods/test_score_cam.py: one table of masks for all three",
    "methods.ss_cam": "methods/test_score_cam.py: one table of masks for all three",
    "methods._gradient.backward_pass": "methods/_gradient/test_passes.py: what a solution yields",
    "methods._gradient.at_layers": "methods/test_layer_lrp.py: what two methods share, run by one",
    "methods._gradient.attributed": "methods/test_layer_deep_lift.py: run by the methods"
    " of either kind",
    # models
    "models.collage.making.cut": "models/collage/making/test_train.py: needs scikit-image,"
    " which is not installed",
    "models.collage.making.pictures": "models/collage/making/test_scenes.py: a list of recipes",
    # show
    "show.elements": "show/test_drawing.py: values, which a drawing consists of",
    # inspect
    # preparation
    # evaluate
    "evaluate.ground_truth.asked_pictures": "evaluate/ground_truth/test_labelled_pictures.py:"
    " values, of which these are a part",
    "evaluate.ground_truth.saving": "evaluate/ground_truth/test_benchmark.py: run by each report",
    "evaluate.ground_truth.text_table": "evaluate/ground_truth/test_planted_report.py: by a report",
    "evaluate.changes": "evaluate/test_stability.py: each measure against its formula, and in"
    " test_sensitivity.py",
    # robust
    # concepts
    # results
    "results.explained": "results/test_rows.py: a protocol, without behaviour",
    "results.html_page": "results/test_html.py: the page is read as the sink writes it",
    # runs
    "runs.dream_jobs": "cli/test_dream.py: compared with the library through the command",
    "runs.explain_job": "cli/test_explain.py: compared with the library through the command",
    "runs.explain_settings": "runs/test_run.py: settings are checked when a job is made",
    "runs.inspection_jobs": "cli/test_activations.py: compared with the library by each command",
    "runs.job": "runs/test_run.py: an interface and values, seen in the events of a run",
    "runs.model_overview": "cli/test_kernels.py: compared with the library by each command",
    # bulk
    "bulk.shard_content": "bulk/test_writing.py: filled and written by the thread",
    "bulk.work": "bulk/test_run.py: what a run is, from end to end",
    # captum
    "captum.contract": "captum/test_errors.py: what each class raises, and for a missing target",
    "captum.data_loader": "methods/test_data_loader_attribution.py: compared with Captum's there",
    "captum.statistics": "captum/test_metrics.py: compared with Captum's there",
    # quantus
    "quantus.explained": "quantus/test_explain.py: what explains, by each way to pass it",
    # tf_cnnvis
    # web
    # cli
}
"""Modules without a test of their own name, with the test that covers each, and why."""


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"torchattr"}))
def test_every_module_has_a_test_in_the_same_place(module: str) -> None:
    path = MODULES[module].relative_to(PACKAGE)
    if path.name in ("__init__.py", "__main__.py"):
        return
    own = TESTS / path.parent / f"test_{path.stem.removeprefix('_')}.py"
    elsewhere = COVERED_ELSEWHERE.get(module.removeprefix("torchattr."))
    if elsewhere is None:
        assert own.exists(), f"{own.relative_to(TESTS)} is missing"
    else:
        assert not own.exists(), f"{module} has a test of its own: take it off the list"
        assert (TESTS / elsewhere.split(":")[0]).exists(), elsewhere


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines without its docstring."""
    first = function.body[0]
    docstring = ast.get_docstring(function, clean=False) is not None
    documented = (first.end_lineno or 0) - first.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - documented


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert code_lines(node) <= 60, f"{node.name} is too long"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_assertion_and_no_blind_except(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            blind = caught in ("everything", "Exception", "BaseException")
            # What cleans up and raises again hides nothing; what raises at times knows why.
            raises = any(isinstance(one, ast.Raise) for one in ast.walk(node))
            reasoned = "# noqa: BLE001 - " in path.read_text().splitlines()[node.lineno - 1]
            assert not blind or raises or reasoned, f"blind except in line {node.lineno}"


GRADIENT_MODES = {"no_grad", "enable_grad", "set_grad_enabled", "inference_mode"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_gradients_are_enabled_and_disabled_in_one_place(path: Path) -> None:
    """An interrupt in the last line of PyTorch's own context managers leaves them disabled."""
    if path == PACKAGE / "core/gradient_mode.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in GRADIENT_MODES, f"line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_annotations_are_postponed(path: Path) -> None:
    """Types are written as in the newest Python, so each file with functions postpones them."""
    tree = ast.parse(path.read_text())
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(tree)):
        assert "from __future__ import annotations" in path.read_text()


MACHINE = re.compile(r"(?<![\w./])/(?:root|home|work|tmp|Users)/|[A-Z]:\\Users")
TEXTS = [
    *FILES,
    *(
        path
        for folder in ("docs", "tests", "benchmarks")
        for path in (PACKAGE.parent / folder).rglob("*")
        if path.suffix in (".py", ".md") and path != Path(__file__)
    ),
    *PACKAGE.parent.glob("*.md"),
]


def test_no_path_of_a_machine_is_written_down() -> None:
    found = [str(path) for path in TEXTS if MACHINE.search(path.read_text())]
    assert found == []


def test_importing_loads_nothing_heavy_and_starts_no_gpu() -> None:
    code = """
import sys, torch
initialised = []
torch.cuda._lazy_init = lambda: initialised.append("cuda")
import torchattr
torchattr.GuidedBackprop
heavy = ["triton", "torch._dynamo", "captum", "matplotlib.pyplot", "torchvision", "typer"]
print([name for name in heavy if name in sys.modules], initialised, torch.cuda.is_initialized())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[] [] False"


def test_every_public_name_is_documented() -> None:
    public = [
        one
        for one in [*dir(torchattr), *torchattr.__all__]
        if not one.startswith("_") and one != "annotations"
    ]
    bare = [one for one in public if not getattr(getattr(torchattr, one), "__doc__", None)]
    assert bare == []


BROUGHT_BY = {
    "PIL": "pillow",
    "huggingface_hub": "timm",
    "mpl_toolkits": "matplotlib",
    "pydantic": "fastapi",
    "pytorch_lightning": "lightning",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "starlette": "fastapi",
    "typing_extensions": "typing-extensions",
}
"""The project of modules that are called otherwise, or that are part of what it offers itself."""


def test_whatever_is_imported_is_declared() -> None:
    """What another dependency happens to install may be gone with its next release."""
    listed = "\n".join(
        line for line in (TESTS.parent / "pyproject.toml").read_text().splitlines() if ">=" in line
    )
    declared = set(re.findall(r'"([a-z0-9-]+)(?:\[[a-z]+\])?>=', listed))
    imported_roots = {
        (name or "").split(".")[0]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    foreign = imported_roots - sys.stdlib_module_names - {"torchattr"}
    assert {BROUGHT_BY.get(name, name) for name in foreign} <= declared
