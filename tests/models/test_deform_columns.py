"""The Triton kernels of a deformable convolution: compiled for GPUs, and interpreted on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ARRAYS = ("x", "offset", "mask", "columns", "grad", "grad_offset", "grad_mask")


# batch, channels in and out, height, width, kernel, stride, padding; 130: two blocks of channels
SHAPES = [(2, 20, 5, 5, 4, 3, 1, 1), (1, 3, 2, 8, 13, 3, 2, 1), (1, 130, 3, 3, 3, 1, 1, 0)]


def type_of(argument, kind, fixed):
    if argument in fixed:
        return "constexpr"
    return "*fp32" if argument == "grad_x" else f"*{kind}" if argument in ARRAYS else "i32"


@pytest.mark.skipif(INTERPRETED, reason="the compiler's")
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kind", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("name", ["_forward", "_backward"])
def test_the_kernels_compile_for_a_gpu_that_is_not_here(name, kind, capability):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ocdnet.models import deform_columns

    function = getattr(deform_columns, name)
    fixed = {"kernel": 3, "stride": 1, "padding": 1, "block_pixels": 16, "block_channels": 128}
    types = {key: type_of(key, kind, fixed) for key in function.arg_names}
    values = {(function.arg_names.index(key),): value for key, value in fixed.items()}
    compiled = triton.compile(
        ASTSource(function, types, values), target=GPUTarget("cuda", capability, 32)
    )
    assert compiled.asm["cubin"]


@pytest.mark.skipif(INTERPRETED or torch.cuda.is_available(), reason="of a GPU that fails")
def test_where_triton_does_not_work_torchvision_takes_its_place(caplog):
    from ocdnet.models import deform_conv

    deform_conv._tried_out.cache_clear()
    assert not deform_conv.triton_works()
    assert "torchvision's, which is slower: " in caplog.text


@pytest.mark.skipif(INTERPRETED, reason="of the compiler")
@pytest.mark.parametrize("works", [True, False])
def test_a_compiled_network_has_the_choice_built_in(monkeypatch, works):
    from ocdnet.models import deform_conv

    torch.compiler.reset()
    monkeypatch.setattr(deform_conv, "_tried_out", lambda: works)

    @torch.compile(fullgraph=True, backend="eager")
    def chosen(x):
        return x + 1 if deform_conv.triton_works() else x - 1

    assert float(chosen(torch.zeros(()))) == (1 if works else -1)


@pytest.mark.skipif(INTERPRETED, reason="starts those below")
def test_interpreted_they_equal_torchvision():
    """In a process of its own: Triton reads the variable when it is first imported."""
    plain = ("-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *plain, __file__]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True,
        cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout


def columns_form(x, offset, mask, weight, stride, padding):
    from ocdnet.models import deform_columns  # noqa: F401 - registers the operator
    from ocdnet.models.deform_conv import deform_conv2d_columns

    return deform_conv2d_columns(x, offset, mask, weight, stride=stride, padding=padding)


@pytest.mark.skipif(not INTERPRETED, reason="run by the test above")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spread", [0.0, 3.0, 1e6])
def test_output_and_all_gradients_equal_torchvision(shape, spread):
    from models.test_deform_conv import case, output_and_gradients, torchvision_form

    tensors, stride, padding = case(shape, spread)
    expected = output_and_gradients(torchvision_form, tensors, stride, padding)
    found = output_and_gradients(columns_form, tensors, stride, padding)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.skipif(not INTERPRETED, reason="run by the test above")
def test_compiled_they_compute_the_same():
    from models.test_deform_conv import case, output_and_gradients
    from ocdnet.models import deform_columns  # noqa: F401 - registers the operator

    tensors, stride, padding = case((1, 4, 3, 5, 4, 3, 1, 1), 1.0)
    compiled = torch.compile(columns_form, fullgraph=True, backend="aot_eager")
    expected = output_and_gradients(columns_form, tensors, stride, padding)
    found = output_and_gradients(compiled, tensors, stride, padding)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(not INTERPRETED, reason="run by the test above")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_offset_spoils_its_own_point_only(value):
    from models.test_deform_conv import case

    (x, offset, mask, weight), stride, padding = case((2, 4, 5, 9, 7, 3, 1, 1), 1.0)
    offset[1, 4, 2, 3] = value
    spoiled = columns_form(x, offset, mask, weight, stride, padding).isnan()
    assert spoiled[1, :, 2, 3].all()
    assert spoiled.sum() == weight.shape[0]
