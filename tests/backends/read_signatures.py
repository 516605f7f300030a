"""Write tensorrt_signatures.json.xz from NVIDIA's own bindings, without TensorRT or a GPU.

The bindings (PyPI: tensorrt-cu12-bindings, cuda-bindings) import once the libraries that they load
exist: an empty one with the handful of symbols they need is compiled here (gcc). Nothing of it is
run; only the signatures in the docstrings are read.

    python tests/backends/read_signatures.py 10.16.1.11 11.4.0.106
"""

from __future__ import annotations

import json
import lzma
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TARGET = Path(__file__).with_name("tensorrt_signatures.json.xz")
CUDA = "12.9.10"
READ = """
import importlib, json, re, sys
module = importlib.import_module(sys.argv[1])

def signatures(member, name):
    lines = [re.sub(r'^\\d+\\. ', '', line) for line in (member.__doc__ or '').splitlines()]
    return [line for line in lines if re.match(rf'{name}\\(', line) and '*args' not in line]

def read(name, member):
    if isinstance(member, type):
        inner = {n: getattr(member, n) for n in dir(member) if n == '__init__' or n[0] != '_'}
        return {n: signatures(m, n) if callable(m) else 'value' for n, m in inner.items()}
    return signatures(member, name)

names = sys.argv[2:]
print(json.dumps({name: read(name, getattr(module, name)) for name in names}))
"""
TENSORRT = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
]
RUNTIME = [
    "cudaError_t",
    "cudaFree",
    "cudaGetDeviceCount",
    "cudaGetErrorString",
    "cudaMalloc",
    "cudaMemcpyAsync",
    "cudaMemcpyKind",
    "cudaSetDevice",
    "cudaStreamCreate",
    "cudaStreamSynchronize",
]


def fetched(folder: Path, *packages: str) -> None:
    """Wheels, unpacked."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    subprocess.run([*pip, *packages], check=True)
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)


def empty_libraries(folder: Path) -> None:
    """What the bindings are linked to, with functions that return nothing."""
    library = next(folder.glob("tensorrt_bindings/tensorrt*.so"))
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True
    )
    names = re.findall(r"U (create\w+_INTERNAL|get\w+|initLib\w+)$", listed.stdout, re.MULTILINE)
    (folder / "empty.c").write_text("".join(f"void* {n}(void) {{ return 0; }}\n" for n in names))
    needed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True)
    for name in re.findall(r"\[(libnv\w+\.so\.\d+)\]", needed.stdout):
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name]
        subprocess.run([*command, folder / "empty.c"], check=True)


def read(folder: Path, module: str, names: list[str]) -> dict[str, object]:
    """Signatures by name, of a module imported in a process of its own."""
    environment = {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", READ, module, *names],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    text = done.stdout.replace("tensorrt_bindings.tensorrt.", "")
    return dict(json.loads(text))


def main(versions: list[str]) -> None:
    found: dict[str, object] = {}
    for version in versions:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fetched(folder, f"tensorrt-cu12-bindings=={version}")
            empty_libraries(folder)
            found[version] = read(folder, "tensorrt_bindings", TENSORRT)
    with tempfile.TemporaryDirectory() as name:
        fetched(Path(name), f"cuda-bindings=={CUDA}", "cuda-pathfinder")
        cuda = read(Path(name), "cuda.bindings.runtime", RUNTIME)
    content = {"tensorrt": found, "cuda": {CUDA: cuda}}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"
    TARGET.write_bytes(lzma.compress(text.encode(), preset=9))


if __name__ == "__main__":
    main(sys.argv[1:])
