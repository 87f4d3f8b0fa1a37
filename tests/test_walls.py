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


# Names out of files.

TOLD_FIELDS = {"file", "relative_path", "mask", "ignore"}
"""Attributes of our dataclasses that hold names as a file gave them."""
READING = {
    "DictReader", "execute", "fetchall", "fetchone", "loads", "metadata", "parse_json", "parse_yaml",
    "read_fold", "read_json", "read_rows", "read_table", "reader", "safe_load",
}  # fmt: skip
"""What gives the content of a file or of a database."""
PROVED = {"inside", "own", "image_part", "image_folder", "safe_stem", "slug", "is_made"}
"""What proves a name, or makes one of its own of it."""
BY_HAND = {
    # An image is where its project or sidecar says, anywhere: it is only read, and known by its bytes.
    "pixelcam/review/images.py": {"folder / row['relative_path']", "Path(parent) / name"},
    "pixelcam/export/seeds.py": {
        "folder / image.relative_path",
        # Stems of `free_stem`.
        "folder / f'{stem}.image.png'",
        "folder / f'{stem}{_SIDECAR}'",
        "folder / f'{stem}{ending}'",
    },
    "pixelcam/review/opened.py": {
        "Path(path).parent / self.image(id).path.name",
        "self.folder / relative",
    },
}
"""Joins that were looked at."""
LISTED = {"pixelcam/datasets/folder.py"}
"""Where all names are those of a folder's listing."""


def told(node: ast.AST, names: set[str]) -> bool:
    """Return whether an expression holds something that a file said: by key, by field, or in a variable."""
    if isinstance(node, ast.Call) and called(node) in PROVED:
        return False
    if isinstance(node, ast.Subscript) and isinstance(getattr(node.slice, "value", None), str):
        return True
    if isinstance(node, ast.Attribute) and node.attr in TOLD_FIELDS:
        return True
    if (isinstance(node, ast.Call) and called(node) in READING) or (
        isinstance(node, ast.Name) and node.id in names
    ):
        return True
    return any(told(child, names) for child in ast.iter_child_nodes(node))


def told_names(function: ast.AST) -> set[str]:
    """Return the variables of a function that hold something that a file said."""
    names: set[str] = set()
    for _ in range(3):  # from one variable to the next
        for node in ast.walk(function):
            places: list[ast.AST] = []
            if isinstance(node, ast.Assign) and told(node.value, names):
                places = list(node.targets)
            elif (
                isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value and told(node.value, names)
            ) or (isinstance(node, ast.For | ast.comprehension) and told(node.iter, names)):
                places = [node.target]
            names |= {name.id for place in places for name in ast.walk(place) if isinstance(name, ast.Name)}
    return names


def is_number(node: ast.AST) -> bool:
    """Return whether what is divided, or what by, is surely a number."""
    if isinstance(node, ast.BinOp):
        return not isinstance(node.op, ast.Div) or is_number(node.left) or is_number(node.right)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value in ("height", "width")
    return (isinstance(node, ast.Constant) and isinstance(node.value, int | float)) or (
        isinstance(node, ast.Attribute) and node.attr in ("pi", "width", "height")
    )


def joined_by_hand(tree: ast.AST) -> list[str]:
    """Return the expressions that join to a path what a file said, without proving where it leads."""
    found = set()
    for function in [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))]:
        names = told_names(function)
        for node in ast.walk(function):
            parts: list[ast.expr] = []
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not is_number(node):
                parts = [node.right]
            elif isinstance(node, ast.Call) and called(node) in (
                "joinpath",
                "with_name",
                "with_stem",
                "join",
            ):
                owner = getattr(node.func, "value", None)
                text = isinstance(owner, ast.Constant)  # ", ".join(...)
                pure = isinstance(owner, ast.Call) and called(owner) == "PurePosixPath"  # leads nowhere yet
                parts = [] if text or pure else node.args
            elif isinstance(node, ast.Call) and called(node) in ("Path", "PurePath") and len(node.args) > 1:
                parts = node.args[1:]
            if any(told(part, names) for part in parts):
                found.add(ast.unparse(node))
    return sorted(found)


@pytest.mark.parametrize("path", [*CORE, *PLUGIN], ids=relative)
def test_nobody_joins_a_name_out_of_a_file_by_hand(path):
    """`pixelcam.files.inside` does, and proves that it lies inside; or `own`, for what we make ourselves."""
    if relative(path) not in LISTED:
        found = set(joined_by_hand(ast.parse(path.read_text(encoding="utf-8"))))
        assert found - BY_HAND.get(relative(path), set()) == set()


@pytest.mark.parametrize(
    "source",
    [
        "folder / row['map']",
        "folder / 'images' / values['fg']['file']",
        "folder / f\"{row['map']}.zarr\"",
        "folder / Path(sidecar.file).name",
        "path.with_name(sidecar.file)",
        "folder.joinpath(image.relative_path)",
        "os.path.join(folder, row['map'])",
        "Path(folder, row['map'])",
        "def f():\n    name = latest['map']\n    return place / name",
        "def f():\n    values = parse_json(text)\n    name = values.get('file')\n    return place / name",
        "def f():\n    for row in read_rows(path, 2):\n        yield root / row[0]",
        "def f():\n    for (name,) in connection.execute('SELECT map FROM l'):\n        yield place / name",
        "def f():\n    return [root / row[0] for row in csv.reader(lines)]",
        "def f():\n    if (name := row['map']):\n        return place / name",
    ],
)
def test_a_join_by_hand_is_seen(source):
    assert joined_by_hand(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "inside(folder, row['map'])",
        "folder / safe_stem(row['name'])",
        "folder / 'images'",
        "', '.join(values['names'])",
        "2 * row['height'] / shape[0]",
        "def f(name):\n    return folder / name",
    ],
)
def test_what_is_proved_is_no_join_by_hand(source):
    assert joined_by_hand(ast.parse(source)) == []


# Formats.

UNGUARDED = {
    "safe_load": set(),
    "imread": set(),
    "open_array": {"pixelcam/review/arrays.py", "pixelcam/review/rescuing.py"},
    "open_group": {"pixelcam/export/ngff.py"},
}
"""Readers that guess, or that read whatever they are given, and where they are called after a look."""


def guesses(tree: ast.AST, name: str = "") -> list[int]:
    """Return the lines that open a file without saying which formats it may have, or without any limit."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        owner = getattr(getattr(node.func, "value", None), "id", "")
        named = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        what = called(node)
        if (
            (owner in ("Image", "PIL") and what == "open" and "formats" not in named)
            or (owner == "Image" and what in ("init", "preinit") and name != "pixelcam/slides/photos.py")
            or (what == "TiffFile" and named.get("_multifile") is not False)
            or (owner == "yaml" and what in ("load", "full_load", "unsafe_load", "load_all"))
            or (owner in ("np", "numpy") and what in ("load", "loadtxt", "genfromtxt", "fromfile"))
            or (what in UNGUARDED and name not in UNGUARDED[what])
        ) and name != "pixelcam/limits.py":
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", [*CORE, *PLUGIN], ids=relative)
def test_no_opening_is_left_to_guess(path):
    """Pillow starts Ghostscript for an EPS, whatever its name; tifffile opens what OME metadata name."""
    assert guesses(ast.parse(path.read_text(encoding="utf-8")), relative(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "Image.open(path)",
        "with Image.open(io.BytesIO(data)) as image: pass",
        "tifffile.TiffFile(path)",
        "tifffile.TiffFile(path, _multifile=True)",
        "tifffile.imread(path)",
        "skimage.io.imread(path)",
        "np.load(path)",
        "yaml.safe_load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "zarr.open_array(path)",
    ],
)
def test_a_guess_is_seen(source):
    assert guesses(ast.parse(source)) == [1]
    assert guesses(ast.parse("Image.open(path, formats=['PNG'])\nTiffFile(path, _multifile=False)")) == []
