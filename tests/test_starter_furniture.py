"""The OBJ reader and the furniture folder that is made with it."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from starter import fetch_furniture
from starter.scenes.builder import SceneBuilder
from starter.scenes.furniture import FurnitureLibrary
from starter.scenes.furniture_files import convert, simplified, unpack_catalogue, write_index
from starter.scenes.obj import read_mtl, read_obj
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import InputError

SQUARE = """\
mtllib a.mtl
v 0 0 0   # a comment
v 2 0 0
v 2 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl red
f 1/1 2/2 3/3 4/4
v 0 0 3
usemtl blue
f -1 -5 \\
 -4
f 1//1 2//1 5//1
"""
MTL = "newmtl red\nKd 1 0 0\nKs .2 .2 .2\nd 0.5\nnewmtl blue\nKd 0 0 1\nTr 0.25\nmap_Kd none.png\n"


def test_polygons_negative_indices_and_missing_coordinates(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(SQUARE)
    mesh = read_obj(tmp_path / "a.obj")
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [4, 0, 1], [0, 1, 4]])
    np.testing.assert_array_equal(mesh.uv[0], [[0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(mesh.uv[1], [[0, 0], [1, 1], [0, 1]])
    assert not mesh.uv[2:].any()
    assert [mesh.names[k] for k in mesh.material] == ["red", "red", "blue", "blue"]
    assert mesh.libraries == ["a.mtl"]
    assert mesh.vertices[4].tolist() == [0, 0, 3]


def test_materials(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text(MTL)
    found = read_mtl(tmp_path / "a.mtl")
    assert found["red"].colour == (1, 0, 0) and found["red"].alpha == 0.5
    assert found["red"].specular == pytest.approx(0.2)
    assert found["blue"].alpha == 0.75 and found["blue"].texture is None


@pytest.mark.parametrize("text", ["v 0 0 0\n", "v 0 0 0\nf 1 2 3\n", "v 0 0 zero\n", "v 0 0 0\nf 1/9 1/9 1/9\n"])
def test_unreadable_files_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.obj").write_text(text)
    with pytest.raises(InputError, match=r"bad\.obj"):
        read_obj(tmp_path / "bad.obj")


def test_merging_vertices_keeps_size_and_limits_triangles() -> None:
    from starter.scenes.shapes import sphere

    ball = sphere(1.0, 80)
    vertices, triangles, rows = simplified(ball.vertices, ball.triangles, 500)
    assert 100 < len(triangles) <= 500 and len(rows) == len(triangles)
    np.testing.assert_allclose(np.ptp(vertices, axis=0), 2, atol=0.15)


def catalogue(width: float, depth: float, height: float) -> str:
    entry = {"name": "Chair", "category": "Office", "model": "/m/a.obj", "creator": "Somebody"}
    entry |= {"width": str(width), "depth": str(depth), "height": str(height)}
    return "id=x\n" + "".join(f"{key}#1={value}\n" for key, value in entry.items())


def test_a_catalogue_becomes_furniture_in_metres(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "Pack.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", catalogue(50, 60, 90))
        archive.writestr("m/a.obj", SQUARE)
        archive.writestr("m/a.mtl", MTL)
    out = tmp_path / "furniture"
    out.mkdir()
    found = unpack_catalogue(tmp_path / "Pack.sh3f", tmp_path / "unpacked")
    write_index([convert(piece, out, 100) for piece in found], out)
    assert "Pack/a: Chair by Somebody, CC-BY 3.0" in (out / "CREDITS").read_text()
    chair = FurnitureLibrary(out).draw("chair", SceneBuilder(np.random.default_rng(0)))
    assert chair is not None
    np.testing.assert_allclose(chair.bounds, [[-0.25, -0.3, 0], [0.25, 0.3, 0.9]], atol=1e-6)
    # The file's square lies at its back (z = 0): here at +y, away from the front.
    np.testing.assert_allclose(chair.vertices[chair.triangles[0], 1], 0.3, atol=1e-6)
    assert FurnitureLibrary(out).draw("sofa", SceneBuilder(np.random.default_rng(0))) is None


def test_a_package_that_is_none_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "x.deb"
    package.write_text("no package")
    monkeypatch.setattr(sys, "argv", ["fetch", "--out", str(tmp_path / "f"), "--package", str(package)])
    assert run_script(fetch_furniture.main) == 2
    assert "x.deb: dpkg cannot unpack it" in capsys.readouterr().err
