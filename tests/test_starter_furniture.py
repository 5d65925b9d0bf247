"""Furniture of a folder that is unpacked from the Debian package: models of the catalogue's size, colours, textures."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from starter import fetch_furniture
from starter.scenes.builder import SceneBuilder
from starter.scenes.furniture import CATALOGUE, FurnitureLibrary
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import InputError

MODEL = """\
mtllib a.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 0 0 3
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl printed
f 1/1 2/2 3/3 4/4
usemtl blue
f 5 1 2
usemtl glass
f 1 4 5
"""
MTL = "newmtl printed\nKd 1 0 0\nmap_Kd a.png\nnewmtl blue\nKd 0 0 1\nnewmtl glass\nKd 1 1 1\nd 0.2\n"


@pytest.fixture
def furniture(tmp_path: Path) -> Path:
    folder = tmp_path / "furniture"
    (folder / "Pack" / "m").mkdir(parents=True)
    entry = {"name": "Chair", "category": "Office", "model": "/m/a.obj", "creator": "Somebody"}
    entry |= {"width": "50", "depth": "60", "height": "90"}
    text = "id=x\n" + "".join(f"{key}#1={value}\n" for key, value in entry.items())
    (folder / "Pack" / CATALOGUE).write_text(text)
    (folder / "Pack" / "m" / "a.obj").write_text(MODEL)
    (folder / "Pack" / "m" / "a.mtl").write_text(MTL)
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = (0, 255, 0)  # the upper half is green, in any order of channels
    cv2.imwrite(str(folder / "Pack" / "m" / "a.png"), picture)
    return folder


def test_a_model_stands_in_metres_with_its_front_to_the_viewer(furniture: Path) -> None:
    scene = SceneBuilder(np.random.default_rng(0))
    chair = FurnitureLibrary(furniture).draw("chair", scene)
    assert chair is not None
    np.testing.assert_allclose(chair.bounds, [[-0.25, -0.3, 0], [0.25, 0.3, 0.9]], atol=1e-6)
    assert len(chair.triangles) == 3  # a square and a triangle; glass is left out
    # The file's square lies at its back (z = 0): here at +y, away from the front.
    assert (np.abs(chair.vertices[:, 1] - 0.3) < 1e-6).sum() >= 4
    # The top of the square shows the top of the picture: v runs down from there.
    corners = chair.vertices[chair.triangles]
    printed = scene.materials.textures[scene.materials.rows[chair.material[0]][0]]
    top = chair.uv[0][corners[0, :, 2].argmax()]
    row = int((float(top[1]) % 1 + 0.02) * printed.shape[0])
    assert printed[row, 0, 1] > 200 and printed[-row - 1, 0, 1] < 50


def test_what_a_folder_lacks(furniture: Path, tmp_path: Path) -> None:
    assert FurnitureLibrary(furniture).draw("sofa", SceneBuilder(np.random.default_rng(0))) is None
    with pytest.raises(InputError, match="fetch_furniture"):
        FurnitureLibrary(tmp_path / "nowhere")


def test_packs_are_unpacked_and_their_authors_named(
    furniture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dpkg(words: list[str], **_: object) -> None:
        with zipfile.ZipFile(Path(words[-1]) / "Pack.sh3f", "w") as archive:
            for path in (furniture / "Pack").rglob("*.*"):
                archive.write(path, path.relative_to(furniture / "Pack"))

    package = tmp_path / "x.deb"
    package.write_text("no package")
    words = ["fetch", "--out", str(tmp_path / "out"), "--package", str(package)]
    monkeypatch.setattr(sys, "argv", words)
    assert run_script(fetch_furniture.main) == 2
    error = capsys.readouterr().err
    assert "x.deb" in error and error.count("\n") == 1
    monkeypatch.setattr(subprocess, "run", dpkg)
    assert run_script(fetch_furniture.main) == 0
    assert "Pack/m/a.obj: Chair by Somebody, CC-BY 3.0" in (tmp_path / "out" / "CREDITS").read_text()
    assert FurnitureLibrary(tmp_path / "out").draw("chair", SceneBuilder(np.random.default_rng(0))) is not None
