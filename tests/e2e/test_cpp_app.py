"""The C++ example, built against the installed package as a user would build it."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def done(*command) -> str:
    """Output of a command that must succeed."""
    ran = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="session")
def adapter() -> Path:
    """The adapter's build tree."""
    return Path(os.environ.get("TANDEM_ADAPTER", TARGET / "adapter"))


@pytest.fixture(scope="session")
def app(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cpp_app`, built against ExecuTorch's wheel and an installed Tandem."""
    prefix = tmp_path_factory.mktemp("prefix")
    done("cmake", "--install", adapter, "--prefix", prefix)
    (executorch,) = importlib.util.find_spec("executorch").submodule_search_locations
    build = tmp_path_factory.mktemp("cpp_app")
    done(
        *("cmake", "-S", ROOT / "examples/cpp_app", "-B", build, "-G", "Ninja"),
        *("-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_PREFIX_PATH={executorch};{prefix}"),
    )
    done("cmake", "--build", build)
    return build / "cpp_app"


def raw(tensor: torch.Tensor, path: Path) -> Path:
    """A tensor's elements as a file."""
    path.write_bytes(tensor.contiguous().numpy().tobytes())
    return path


def figures(text: str) -> dict[str, float]:
    """Every "name number" of a text."""
    return {name: float(value) for name, value in re.findall(r"(\w+) ([-+]?\d[\d.]*(?:e[-+]?\d+)?)\b", text)}


def checksums(text: str) -> list[str]:
    """Checksums of outputs, in order."""
    return re.findall(r"checksum (\w+)", text)


def test_answer_and_memory(app, unet, tmp_path):
    given, expected = raw(unet.input, tmp_path / "in.bin"), raw(unet.expected, tmp_path / "out.bin")
    out = done(app, unet.pte, "--input", given, "--expect", expected, "--tolerance", 1e-4, "--rss", "--threads", 1)
    seen = figures(out)
    assert seen["delegates"] == 1 and seen["weight_bytes"] > 0
    assert seen["rss_growth_bytes"] <= seen["weight_bytes"] + seen["arena_bytes"] + (16 << 20)
    assert seen["arena_bytes"] <= 1.15 * seen["live_bytes"]


def test_same_bits_at_every_thread_count(app, unet):
    runs = [checksums(done(app, unet.pte, "--threads", threads, "--repeat", 10)) for threads in (1, 2, 3)]
    assert runs[0] and runs[1:] == runs[:1] * 2


def test_marked_phases_change_nothing(app, unet):
    assert checksums(done(app, unet.pte, "--phases")) == checksums(done(app, unet.pte))


def test_options_reach_the_engine(app, unet):
    plain = checksums(done(app, unet.pte, "--option", "threads=2", "--option", "isa=scalar"))
    assert plain == checksums(done(app, unet.pte, "--option", "isa=scalar", "--option", "algorithm=fast"))
    for wrong in ("isa=sse9", "threads=many", "colour=red"):
        ran = subprocess.run([app, unet.pte, "--option", wrong], capture_output=True, text=True, check=False)
        assert ran.returncode == 1 and "Error::InvalidArgument" in ran.stderr, ran.stderr


def test_two_programs_at_once(app, unet, tmp_path):
    copy = tmp_path / "copy.pte"
    copy.write_bytes(unet.pte.read_bytes())
    first, second = checksums(done(app, unet.pte, copy, "--repeat", 5))
    assert first == second


def test_two_threads_on_two_programs(app, unet):
    alone = checksums(done(app, unet.pte))
    assert checksums(done(app, unet.pte, "--parallel", "--repeat", 40, "--threads", 2)) == alone * 2


def test_two_threads_on_two_methods_that_share_weights(app, tmp_path):
    torch.manual_seed(5)
    layer = torch.nn.Sequential(torch.nn.Conv2d(8, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(64, 8, 1)).eval()
    programs = {
        name: torch.export.export(layer, (torch.randn(1, 8, size, size),), strict=False)
        for name, size in (("small", 12), ("large", 20))
    }
    lowered = to_edge_transform_and_lower(programs, partitioner=[TandemPartitioner()])
    path = tmp_path / "methods.pte"
    with open(path, "wb") as file:
        lowered.to_executorch().write_to_file(file)
    alone = [checksums(done(app, path, "--method", name)) for name in programs]
    together = checksums(done(app, path, "--parallel", "--methods", ",".join(programs), "--repeat", 40))
    assert together == [*alone[0], *alone[1]]


def test_load_and_unload_in_a_loop(app, unet):
    seen = figures(done(app, unet.pte, "--reload", 60))
    assert seen["left_delegates"] == 0
    assert seen["rss_growth_bytes"] <= 4 << 20


@pytest.mark.parametrize(
    ("offset", "error"),
    [(0, "DelegateInvalidCompatibility"), (9, "DelegateInvalidCompatibility"), (200, "InvalidProgram")],
    ids=["not a program", "newer format", "damaged"],
)
def test_refusals_have_their_error(app, unet, tmp_path, offset, error):
    data = bytearray(unet.pte.read_bytes())
    data[data.index(b"TNDM") + offset] ^= 0x55
    broken = tmp_path / "broken.pte"
    broken.write_bytes(data)
    ran = subprocess.run([app, broken], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and f"Error::{error}" in ran.stderr, ran.stderr


def test_library_exports_its_abi_and_no_compiler(adapter):
    assert "100% tests passed" in done("ctest", "--test-dir", adapter)
