"""The walls of the house: who may import whom, and that nothing is ever unpickled."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
BINDINGS = ("PyQt5", "PyQt6", "PySide2", "PySide6")
CORE = sorted((ROOT / "pixelcam").rglob("*.py"))
PLUGIN = sorted((ROOT / "napari_pixelcam").rglob("*.py"))
UNPICKLERS = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve")

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import pixelcam
names = ["pixelcam"] + [m.name for m in pkgutil.walk_packages(pixelcam.__path__, "pixelcam.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([names, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
IMPORT_PLUGIN = """
import json, sys
import napari_pixelcam
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_python(program: str):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def imported_names(tree: ast.AST) -> set[str]:
    """Return the absolute dotted names that a module imports anywhere, in functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__", "importorskip"):
            names.update(
                a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )
    return names


def called(node: ast.Call) -> str:
    """Return the last part of the called function's name."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def top_levels(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def unsafe_loads(tree: ast.AST) -> list[int]:
    """Return the lines that could unpickle a file."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        owner = getattr(getattr(node.func, "value", None), "id", "")
        torch_load = owner == "torch" and called(node) == "load" and keywords.get("weights_only") is not True
        numpy_load = (
            owner in ("np", "numpy") and called(node) == "load" and keywords.get("allow_pickle") is True
        )
        if torch_load or numpy_load or called(node) in ("read_pickle", "load_state_dict_from_url"):
            lines.append(node.lineno)
    return lines


def test_importing_the_core_loads_no_interface():
    names, loaded = run_python(IMPORT_ALL)
    assert len(names) > 10, "walk_packages did not find the modules"
    assert not {"qtpy", "napari", "napari_pixelcam", "superqt", "magicgui", *BINDINGS} & set(loaded)


def test_importing_the_plugin_does_not_load_torch():
    assert not {"torch", "torchvision", "timm"} & set(run_python(IMPORT_PLUGIN))


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_core_imports_no_interface_anywhere(path):
    """The one door is the `demo` command, which hands over to the plugin from within a function."""
    forbidden = {"qtpy", "napari", "superqt", "magicgui", "napari_pixelcam", *BINDINGS}
    if path.relative_to(ROOT / "pixelcam").parts[0] == "cli":
        forbidden.remove("napari_pixelcam")
    assert not forbidden & top_levels(imported_names(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", PLUGIN, ids=relative)
def test_the_plugin_reaches_qt_only_through_qtpy(path):
    assert not set(BINDINGS) & top_levels(imported_names(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", [*CORE, *PLUGIN], ids=relative)
def test_nothing_is_unpickled(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not set(UNPICKLERS) & top_levels(imported_names(tree))
    assert unsafe_loads(tree) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import torch\ntorch.load(p)", [2]),
        ("import torch\ntorch.load(p, weights_only=False)", [2]),
        ("import torch\ntorch.load(p, weights_only=True)", []),
        ("np.load(p, allow_pickle=True)", [1]),
        ("np.load(p)", []),
    ],
)
def test_an_unsafe_load_is_seen(source, lines):
    assert unsafe_loads(ast.parse(source)) == lines


@pytest.mark.parametrize(
    "source",
    [
        "import napari.layers",
        "from napari import Viewer",
        "def f():\n    import napari",
        "import importlib\nimportlib.import_module('napari')",
    ],
)
def test_a_forbidden_import_is_seen(source):
    assert "napari" in top_levels(imported_names(ast.parse(source)))


OPTIONAL = {"pixelcam/export/dicom.py": "dicom"}
"""Who may reach, from within functions, for the packages of which extra."""


def requirement_names(lines: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", Requirement(line).name).lower() for line in lines}


def test_whatever_is_imported_is_declared_as_a_dependency():
    """An undeclared package is there by somebody else's grace, until it is not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    base = requirement_names(project["dependencies"])
    distributions = importlib.metadata.packages_distributions()
    own = {"pixelcam", "napari_pixelcam"}
    undeclared = {}
    for path in [*CORE, *PLUGIN]:
        imported = top_levels(imported_names(ast.parse(path.read_text(encoding="utf-8"))))
        declared = base | requirement_names(extras.get(OPTIONAL.get(relative(path), ""), []))
        for name in imported - own - set(sys.stdlib_module_names):
            homes = {re.sub(r"[-_.]+", "-", home).lower() for home in distributions.get(name, [name])}
            if not homes & declared:
                undeclared.setdefault(name, relative(path))
    assert undeclared == {}


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_extra_is_reached_for_only_when_it_is_needed(name):
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = requirement_names(project["optional-dependencies"][OPTIONAL[name]])
    assert not extra & top_levels(imported_names(ast.Module(at_once, [])))
    assert extra & top_levels(imported_names(tree))


def test_the_top_level_manifest_leads_to_the_plugins_own():
    link = ROOT / "napari.yaml"
    assert link.read_bytes() == (ROOT / "napari_pixelcam" / "napari.yaml").read_bytes()
