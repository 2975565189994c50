"""The walls of the house: which room may import what. Read from the source, so no import is missed or run."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("models", "service", "training")
FORBIDDEN = {
    "models": {"service", "training", "torch", "torchvision", "monai", "bentoml", "starlette", "httpx", "sqlalchemy", "onnx"},
    "service": {"training", "torch", "torchvision", "monai", "onnx", "onnxruntime", "openvino", "sklearn"},
    "training": {"service", "bentoml", "starlette"},
}
ALONE = {
    "onnxruntime": {"models/session.py", "training/"},
    "openvino": {"models/session.py", "training/"},
    "bentoml": {"service/app.py"},
    "pynetdicom": {"service/dicom/listen.py", "service/dicom/client.py"},
    "highdicom": {"service/dicom/"},
    "sqlalchemy": {"service/store/"},
    "alembic": {"service/store/"},
    "boto3": {"service/store/objects.py"},
    "jwt": {"service/cds_hooks/", "service/fhir/", "service/access/"},
    "authlib": {"service/access/"},
    "joserfc": {"service/access/"},
    "babel": {"service/catalog.py"},
    "httpcore": {"service/outbound/"},
    "fhir": {"service/fhir/shapes.py"},
    "reportlab": {"service/reporting/", "training/commission/"},
    "pickle": set(),
    "joblib": set(),
}


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> set[str]:
    """Return the top-level names a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno}: imports are absolute"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_room_imports_nothing_it_must_not(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imports_of(path) & FORBIDDEN[room] == set()


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_or_dangerous_import_stands_in_its_one_place(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    misplaced = {
        package for package, homes in ALONE.items()
        if package in imports_of(path) and not any(name == home or (home.endswith("/") and name.startswith(home)) for home in homes)
    }
    assert misplaced == set()


def test_serving_dependencies_hold_no_training_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {line.split(">")[0].split("[")[0].strip() for line in project["dependencies"]}
    assert names & {"torch", "torchvision", "monai", "onnx", "scikit-learn", "lightgbm"} == set()


def test_every_file_states_what_is_here() -> None:
    missing = [str(p.relative_to(ROOT)) for p in modules() if not ast.get_docstring(tree_of(p))]
    assert missing == []


def test_no_file_outgrows_its_idea() -> None:
    long = {str(p.relative_to(ROOT)): n for p in modules() if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_models_imports_without_the_training_extra() -> None:
    """A fresh interpreter with torch hidden can load the whole models room."""
    import subprocess

    hide = """import sys
class Hidden:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "onnx", "sklearn", "monai", "bentoml"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""
    names = [p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for p in sorted((ROOT / "models").rglob("*.py"))]
    names = [n for n in names if not n.endswith(("__main__", "__init__"))]
    code = f"{hide}import importlib; [importlib.import_module(n) for n in {names!r}]"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rooms_of_the_service_do_not_lean_on_who_puts_them_together() -> None:
    """A room (a folder of service/) is mounted by web, app and worker; it imports none of them."""
    above = {"service.web", "service.app", "service.worker", "service.ehr", "service.commands"}
    found = {
        (path.relative_to(ROOT).as_posix(), node.module)
        for path in (ROOT / "service").glob("*/**/*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module in above
    }
    assert found == set()
