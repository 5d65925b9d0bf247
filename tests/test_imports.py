"""Imports point one way, without a circle; importing has no visible effect and is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "video_depth_anything"
SCRIPTS = ("run", "run_streaming", "app")
HEAVY = {"torch", "cv2", "numpy", "av", "open3d", "decord", "matplotlib", "gradio"}

# From the ground up; a room may import from its own floor and from those below it.
FACTS = {"config", "errors", "files", "weights"}
NETWORKS = {
    "decoding",
    "dinov2",
    "dpt",
    "dpt_temporal",
    "frame_features",
    "motion_module",
    "network",
    "temporal_memory",
}
MEDIA = {"video", "outputs"}
LIBRARY_FLOOR, PIPELINES_FLOOR, TOP_FLOOR = 3, 4, 5
SEPARATE = {"video": 2, "outputs": 2, "pipelines": PIPELINES_FLOOR, "cli": TOP_FLOOR, "web": TOP_FLOOR}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_files() -> list[Path]:
    return sorted((ROOT / PACKAGE).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, wherever in it."""
    module = module_of(path).split(".")
    package = module if path.name == "__init__.py" else module[:-1]
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            target = ".".join([*base, node.module] if node.module else base)
            names |= {
                f"{target}.{alias.name}" if is_module(f"{target}.{alias.name}") else target for alias in node.names
            }
    return names


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room_of(module: str) -> str:
    """The folder or file right under the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor_of(room: str) -> int:
    if room in FACTS:
        return 0
    if room in NETWORKS:
        return 1
    return SEPARATE.get(room, LIBRARY_FLOOR)


def test_no_room_imports_from_a_higher_floor() -> None:
    for path in package_files():
        room = room_of(module_of(path))
        if room in ("", "__main__"):
            continue
        for name in imports_of(path):
            if name.split(".")[0] == PACKAGE and room_of(name):
                assert floor_of(room_of(name)) <= floor_of(room), f"{path.relative_to(ROOT)} imports {name}"


def test_networks_and_media_do_not_know_each_other() -> None:
    for path in package_files():
        room = room_of(module_of(path))
        names = imports_of(path)
        rooms = {room_of(name) for name in names if name.split(".")[0] == PACKAGE}
        if room in NETWORKS:
            assert rooms <= NETWORKS | FACTS, path
        if room == "video":
            assert rooms <= FACTS | {"video"}, path
        if room == "outputs":
            assert rooms <= FACTS | MEDIA, path
        if room in MEDIA:
            assert not any(name.split(".")[0] == "torch" for name in names), path
        if floor_of(room) == LIBRARY_FLOOR:
            assert not rooms & MEDIA, f"{path} knows files"


def test_nothing_imports_the_scripts_or_their_compatible_names() -> None:
    for path in [*package_files(), *(ROOT / "training").rglob("*.py"), *(ROOT / "benchmark").rglob("*.py")]:
        tops = {name.split(".")[0] for name in imports_of(path)}
        allowed = set() if PACKAGE in path.parts else {"benchmark", "training"}
        assert not tops & ({"utils", "training", "benchmark", *SCRIPTS} - allowed), path


def test_imports_have_no_circle() -> None:
    arrows = {
        module_of(path): {name for name in imports_of(path) if name.split(".")[0] == PACKAGE}
        for path in package_files()
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for name in sorted(arrows.get(module, ())):
                visit(name, (*above, module))
            done.add(module)

    for module in sorted(arrows):
        visit(module, ())


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_nothing_heavy(script: str) -> None:
    code = f"import sys, {script}; sys.exit(', '.join(sorted({HEAVY!r} & set(sys.modules))) or 0)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_scripts_are_short() -> None:
    for script in SCRIPTS:
        assert len((ROOT / f"{script}.py").read_text().splitlines()) <= 80
