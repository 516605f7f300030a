"""tao-deploy-ocdnet.md and serving.md: every command runs, every value is the program's."""

from __future__ import annotations

import configparser
import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import support
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.cli.main import cli
from ocdnet.config import schema
from ocdnet.config.spec import load
from ocdnet.data.preprocess import TAO, Preprocess
from ocdnet.postprocess import DBPostprocessor

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = (ROOT / "references/tao-deploy-ocdnet.md").read_text(encoding="utf-8")
SERVING = (ROOT / "docs/serving.md").read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.usefixtures("small_network")
def test_the_chain_runs_as_it_is_written(detector, scenes, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    support.export(detector, results / "export/detector.onnx", f"results_dir={results}")
    shutil.copytree(scenes, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    answers = []
    for line in blocks(DEPLOY, "sh")[0].splitlines():
        program, *words = shlex.split(line)
        assert program == "ocdnet"
        capsys.readouterr()
        cli.main(words, standalone_mode=False)
        answers.append(json.loads(capsys.readouterr().out))
    planned, built, _, scored, _, found, following = answers
    assert planned["missing"] == []
    assert built["backend"] == "onnxruntime"
    assert scored["hmean"] == 1
    assert found["boxes"] == 8
    offered = [item["action"] for job in following["jobs"] for item in job["follow_ups"]]
    assert {"gen_trt_engine", "deploy_evaluate", "deploy_inference"} <= set(offered)


def test_its_keys_exist():
    known = dict(schema.leaves())
    named = set(
        re.findall(r"\b(?:gen_trt_engine|evaluate|inference|dataset)\.[a-z_.]+[a-z_]", DEPLOY)
    )
    assert len(named) >= 10
    named = {key for key in named if not key.endswith(".yaml")}
    inner = {key.rpartition(".")[0] for key in known}
    parts = {".".join(key.split(".")[:n]) for key in known for n in range(1, 6)}
    assert [key for key in named if key not in known and key not in inner | parts] == []


def test_its_errors_are_ours():
    """Each code of the table stands in the runtime."""
    source = "".join(path.read_text() for path in (ROOT / "runtime").rglob("*.py"))
    table = DEPLOY.partition("| Error |")[2].partition("## Pitfalls")[0]
    codes = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = [code for cell in codes for code in re.findall(r"`([a-z-]+)`", cell)]
    assert len(named) >= 9
    assert [code for code in named if f'"{code}"' not in source] == []


@pytest.mark.parametrize("page", [DEPLOY, SERVING])
def test_its_links_lead(page):
    folder = ROOT / ("references" if page is DEPLOY else "docs")
    for link in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (folder / link).is_file(), link
    for name in re.findall(r"`(spec_template_\w+\.yaml)`", page):
        assert (ROOT / "references" / name).is_file()


def test_deepstream_makes_the_input_that_inference_makes():
    parser = configparser.ConfigParser(comment_prefixes="#")
    parser.read_string(blocks(SERVING, "ini")[0])
    values = parser["property"]
    assert values["model-color-format"] == "1"  # BGR
    _, height, width = map(int, values["infer-dims"].split(";"))
    defaults = load("inference", None, ["inference.checkpoint=a.onnx", "inference.input_folder=b"])
    section = defaults.experiment.inference
    assert (width, height, "BGR") == (section.width, section.height, section.img_mode)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    offsets = np.array([float(value) for value in values["offsets"].split(";")], np.float32)
    want = float(values["net-scale-factor"]) * (image - offsets)
    got = Preprocess((width, height)).to_tensor([image])[0].transpose(1, 2, 0)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_triton_has_the_networks_shapes():
    text = next(block for block in blocks(SERVING, "text") if "platform" in block)
    dims = re.findall(r'name: "(\w+)".*?dims: \[ ([\d, ]+) \]', text)
    assert dims == [("input", "3, 736, 1280"), ("pred", "1, 736, 1280")]
    assert text.count("{") == text.count("}")
    assert text.count("[") == text.count("]")


def test_the_numbers_of_the_text_are_the_defaults():
    for mean in TAO.mean:
        assert str(mean) in SERVING
    default = DBPostprocessor()
    for name in ("thresh", "box_thresh", "max_candidates", "unclip_ratio"):
        assert f"`{name}` {getattr(default, name)}" in SERVING


def test_the_clients_code_finds_what_inference_finds(detector_onnx, scenes, tmp_path, monkeypatch):
    """The page's Python, with the session in place of a server and the small network's size."""
    own, code = blocks(SERVING, "python")
    image = scenes / "test/img/img_1.png"
    shutil.copy(image, tmp_path / "photo.jpg")  # told by its content
    predictor = OnnxPredictor(detector_onnx)
    shutil.copytree(detector_onnx.parent, tmp_path, dirs_exist_ok=True)
    client = tmp_path / "client.py"
    client.write_text(code.replace("(1280, 736)", "(160, 160)"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(own)
    page = runpy.run_path(str(tmp_path / "own.py"))["page"]
    names = runpy.run_path(str(client), {"infer": lambda batch: predictor(batch)[:, None]})
    result = support.infer(scenes / "test/img", detector_onnx, tmp_path)
    lines = (tmp_path / "inference/img_1.txt").read_text().splitlines()
    assert result["images"] == 4
    assert len(lines) == len(names["found"].polygons) == len(page.polygons) == 2
    for line, polygon in zip(lines, names["found"].polygons, strict=True):
        np.testing.assert_allclose(support.box_of(line)[0], polygon, atol=0.51)
    for mine, polygon in zip(page.polygons, names["found"].polygons, strict=True):
        np.testing.assert_array_equal(mine, polygon)
