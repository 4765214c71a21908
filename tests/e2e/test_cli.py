"""The `tandem` program end to end."""

import json
import subprocess


def tandem(cli, *args) -> subprocess.CompletedProcess:
    """Runs the program; its output is in the assertion if it fails."""
    ran = subprocess.run([cli, *map(str, args)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def test_run_writes_eagers_answer(cli, unet, tmp_path):
    image = tmp_path / "image.bin"
    image.write_bytes(unet.input.numpy().tobytes())
    tandem(cli, "run", unet.pte, "--input", image, "--threads", 2, "--repeat", 3, "--output", tmp_path)
    import numpy

    (written,) = [p for p in tmp_path.iterdir() if p.suffix in (".npy", ".bin") and p != image]
    out = numpy.load(written) if written.suffix == ".npy" else numpy.fromfile(written, dtype="float32")
    expected = unet.expected.numpy()
    assert abs(out.reshape(expected.shape) - expected).max() <= 1e-4 * abs(expected).max()


def test_profile_has_a_row_per_operator(cli, unet, tmp_path):
    page, data = tmp_path / "profile.html", tmp_path / "profile.json"
    ran = tandem(cli, "profile", unet.pte, "--html", page, "--json", data)
    assert "Convolution" in ran.stdout
    (model,) = json.loads(data.read_text())["models"]
    assert (model["delegates"], model["portable_ops"], model["transposes"]) == (1, 0, 0)
    convolutions = [row for row in model["rows"] if row["category"] == "Convolution"]
    assert len(convolutions) == 9 and all(row["ms"] > 0 for row in convolutions)
    assert model["arena_bytes"] <= 1.15 * model["live_bytes"]
    text = page.read_text()
    assert "<script src" not in text and "http://" not in text.replace("http://www.w3.org", "")


def test_bench_interleaves_and_compares(cli, unet, tmp_path):
    data = tmp_path / "bench.json"
    tandem(cli, "bench", unet.pte, unet.pte, "--rounds", 5, "--json", data)
    files = json.loads(data.read_text())["files"]
    assert len(files) == 2 and all(f["wall_ms"] > 0 and f["cpu_ms"] > 0 for f in files)


def test_a_missing_file_is_an_error(cli, tmp_path):
    ran = subprocess.run([cli, "run", tmp_path / "none.pte"], capture_output=True, text=True, check=False)
    assert ran.returncode != 0 and "none.pte" in ran.stderr
