"""The `tandem` program end to end."""

import json
import os
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


def test_run_takes_symbolic_sizes(cli, tmp_path):
    import numpy
    import torch
    from executorch.exir import to_edge_transform_and_lower
    from executorch_tandem import TandemPartitioner

    h = torch.export.Dim("h", min=4, max=32)
    conv = torch.nn.Conv2d(3, 5, 3, padding=1).eval()
    program = torch.export.export(conv, (torch.randn(1, 3, 8, 8),), dynamic_shapes=({2: h},))
    lowered = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()]).to_executorch()
    (tmp_path / "conv.pte").write_bytes(lowered.buffer)
    image = torch.randn(1, 3, 20, 8)
    numpy.save(tmp_path / "image.npy", image.numpy())
    tandem(cli, "run", tmp_path / "conv.pte", "--input", tmp_path / "image.npy", "--output", tmp_path / "out")
    out = numpy.load(tmp_path / "out/output0.npy")
    expected = conv(image).detach().numpy()
    assert out.shape == expected.shape and abs(out - expected).max() <= 1e-5 * abs(expected).max()
    assert "[1, 5, 7, 8]" in tandem(cli, "run", tmp_path / "conv.pte", "--input", "3:1x3x7x8").stdout
    assert "[1, 5, 32, 8]" in tandem(cli, "run", tmp_path / "conv.pte").stdout
    refused = subprocess.run([cli, "run", tmp_path / "conv.pte", "--input", "3:1x3x33x8"], capture_output=True)
    assert refused.returncode != 0


def test_profile_has_a_row_per_operator(cli, unet, tmp_path):
    page, data, trace = (tmp_path / name for name in ("profile.html", "profile.json", "trace.json"))
    ran = tandem(cli, "profile", unet.pte, "--html", page, "--json", data, "--trace", trace)
    assert "Convolution" in ran.stdout
    (model,) = json.loads(data.read_text())["models"]
    assert (model["delegates"], model["portable_ops"], model["transposes"]) == (1, 0, 0)
    convolutions = [row for row in model["rows"] if row["category"] == "Convolution"]
    assert len(convolutions) == 9 and all(row["ms"] > 0 for row in convolutions)
    assert model["arena_bytes"] <= 1.15 * model["live_bytes"]
    steps = [event["name"] for event in json.loads(trace.read_text())["traceEvents"] if event["tid"] == "steps"]
    assert steps == [row["name"] for row in model["rows"] if row["place"] == "tandem"]
    text = page.read_text()
    assert "<script src" not in text and "http://" not in text.replace("http://www.w3.org", "")


def test_bench_interleaves_and_compares(cli, unet, tmp_path):
    data = tmp_path / "bench.json"
    tandem(cli, "bench", unet.pte, unet.pte, "--rounds", 5, "--json", data)
    files = json.loads(data.read_text())["files"]
    assert len(files) == 2 and all(f["wall_ms"] > 0 and f["cpu_ms"] > 0 for f in files)


def test_bench_loads_a_file_with_every_layout(cli, unet, tmp_path):
    data = tmp_path / "bench.json"
    tandem(cli, "bench", unet.pte, "--layout", "greedy,state", "--rounds", 2, "--json", data)
    first, second = json.loads(data.read_text())["files"]
    # Reassociation in kernels of other layouts stays in the last bits.
    assert first["file"] == second["file"] and second["max_rel_diff"] <= 1e-5


def test_explain_says_where_values_lie_and_who_decided(cli, unet, tmp_path):
    data = tmp_path / "explain.json"
    for layout in ("greedy", "state"):
        ran = tandem(cli, "explain", unet.pte, "--layout", layout, "--json", data)
        (delegate,) = json.loads(data.read_text())["delegates"]
        assert delegate["conversions"] == [] and "0 conversions" in ran.stdout
        values = delegate["values"]
        assert all(v["layout"] and v["decided"] and v["bytes"] > 0 for v in values)
        assert sum(v["decided"] == "the host" for v in values) >= 1
        assert sum(v["layout"] == "nhwc" for v in values) >= 8


def test_explain_lists_what_computes_each_step(cli, unet, tmp_path):
    data = tmp_path / "explain.json"
    ran = tandem(cli, "explain", unet.pte, "--steps", "--json", data)
    (delegate,) = json.loads(data.read_text())["delegates"]
    steps = delegate["steps"]
    assert len(steps) >= 8 and all(step["predicted_ns"] > 0 and step["kernel"] for step in steps)
    assert any("scalar-reference" in step["reason"] for step in steps), "other candidates are told"
    assert all(step["name"] in ran.stdout for step in steps[:3])
    assert " threads" in delegate["basis"] and delegate["basis"] in ran.stdout


def test_explain_tells_what_executions_show(cli, unet, tmp_path):
    data = tmp_path / "explain.json"

    def steps(*args, **environment) -> tuple[str, list[dict]]:
        command = [str(part) for part in (cli, "explain", unet.pte, "--json", data, *args)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
        return ran.stdout, json.loads(data.read_text())["delegates"][0]["steps"]

    _, planned = steps()
    assert all(step["measured_ns"] is None and step["seen"] is None for step in planned)
    _, seen = steps("--repeat", "3", "--threads", "2")
    assert all(step["measured_ns"] > 0 for step in seen)
    # A unit that is computed by a core is far slower than what it stands for: its steps are shared anew.
    units = {"TANDEM_ISA": "emulated-sme2-512,avx2", "TANDEM_DEVICE": "apple-m4"}
    told, seen = steps("--repeat", "3", "--threads", "2", **units)
    shared = [step for step in seen if step["seen"]]
    assert shared and all(step["engine"] in ("both", "sme", "cpu") for step in shared)
    for step in shared:
        paces = step["seen"]
        assert step["name"] in told and 0 <= paces["unit_share"] <= 1
        assert paces["core_tiles"] + paces["unit_tiles"] > 0
    assert any(step["seen"]["unit_ns"] > 1.5 * step["seen"]["unit_predicted_ns"] for step in shared)


def test_simulate_models_devices_that_are_not_there(cli, unet, tmp_path):
    data, trace = tmp_path / "simulated.json", tmp_path / "trace.json"

    def modelled(*args) -> dict:
        ran = tandem(cli, "simulate", unet.pte, "--json", data, "--trace", trace, *args)
        assert "ms modelled" in ran.stdout and "assumed" in ran.stdout
        return json.loads(data.read_text())

    one = modelled("--device", "apple-m4", "--threads", "1", "--engine", "cpu")
    assert {row["engine"] for row in one["rows"]} == {"cpu"}
    unit = modelled("--device", "apple-m4", "--threads", "1")
    assert any(row["engine"] == "sme" for row in unit["rows"])
    assert 0 < unit["modelled_ms"] < one["modelled_ms"]
    events = json.loads(trace.read_text())["traceEvents"]
    assert len(events) == sum(len(row["parts"]) for row in unit["rows"])
    assert {event["tid"] for event in events} == {"cpu", "sme"} and all(event["args"]["modelled"] for event in events)
    # The device has ten cores, and no plan of more engines is slower.
    everything, cores = (modelled("--device", "apple-m4", *args) for args in ([], ["--engine", "cpu"]))
    assert everything["threads"] == 10 and everything["modelled_ms"] <= 1.001 * cores["modelled_ms"]
    refused = subprocess.run([cli, "simulate", unet.pte, "--device", "m9"], capture_output=True, text=True, check=False)
    assert refused.returncode != 0 and "m9" in refused.stderr and "apple-m4" in refused.stderr


def test_simulate_keeps_engines_apart(cli, large, tmp_path):
    data, page = tmp_path / "simulated.json", tmp_path / "simulated.html"

    def modelled(*args) -> dict:
        device = ("--device", "apple-m4", "--threads", "4")
        tandem(cli, "simulate", large.pte, *device, "--json", data, "--html", page, *args)
        return json.loads(data.read_text())

    both = modelled()
    shared = [row for row in both["rows"] if row["engine"] == "both"]
    for row in shared:
        lanes = {part["engine"]: part["share"] for part in row["parts"]}
        assert set(lanes) == {"cpu", "sme"} and abs(sum(lanes.values()) - 1) < 1e-9 and 0 < row["unit_share"] < 1
    text = page.read_text()
    assert shared and '"lanes":["sme","cpu"]' in text and "modelled" in text
    assert "<script src" not in text and "http://" not in text and "https://" not in text
    for flag in ("--no-partition", "--no-overlap"):
        apart = modelled(flag)
        assert all(row["engine"] != "both" for row in apart["rows"])
        assert both["modelled_ms"] < apart["modelled_ms"]
    alone = modelled("--engine", "sme")
    assert alone["modelled_ms"] == modelled("--no-partition")["modelled_ms"]


def test_simulate_models_xnnpack_beside(cli, unet, tmp_path):
    data = tmp_path / "simulated.json"
    device = ("--device", "dimensity-9500", "--threads", "1")
    ran = tandem(cli, "simulate", unet.pte, *device, "--baseline", "xnnpack", "--json", data)
    assert "counted" in ran.stdout and "ms modelled" in ran.stdout
    modelled = json.loads(data.read_text())
    assert 0 < modelled["tandem_modelled_ms"] < modelled["modelled_ms"]
    parts = [part["name"] for row in modelled["rows"] for part in row["parts"]]
    # Three blocks of two convolutions with a normalisation behind the activation, the third behind a concatenation.
    assert parts.count("batch norm") == 6 and parts.count("concatenation") == 1 and "packing" in parts


def test_explain_sweeps_shapes_over_devices(cli, tmp_path):
    data, picture = tmp_path / "sweep.json", tmp_path / "sweep.svg"
    devices = ("--device", "apple-m4", "--device", "armv8-phone")
    ran = tandem(cli, "explain", "--sweep", *devices, "--threads", 4, "--json", data, "--svg", picture)
    m4, phone = json.loads(data.read_text())
    assert {row["engine"] for row in m4["rows"]} == {"cpu", "sme", "both"} and "modelled" in ran.stdout
    assert {row["engine"] for row in phone["rows"]} == {"cpu"}
    decode = [row for row in m4["rows"] if row["m"] == 1]
    assert len(decode) == 2 and all(row["engine"] == "cpu" for row in decode)
    assert picture.read_text().startswith("<svg") and 'class="both"' in picture.read_text()
    for wrong in (["explain"], ["explain", "--device", "apple-m4"], ["explain", "--sweep", "--device", "m9"]):
        assert subprocess.run([cli, *wrong], capture_output=True, check=False).returncode != 0


def test_a_measured_profile_is_planned_with(cli, unet, tmp_path):
    profile = tmp_path / "device.toml"
    ran = tandem(cli, "characterize", "--output", profile)
    assert "fma_gflops" in ran.stdout and 'confidence = "measured"' in profile.read_text()

    def with_device(*args, device) -> subprocess.CompletedProcess:
        command = [str(part) for part in (cli, *args)]
        environment = os.environ | {"TANDEM_DEVICE": str(device)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert f"this-machine (read from {profile})" in with_device("info", device=profile).stdout
    assert with_device("run", unet.pte, device=profile).returncode == 0
    refused = with_device("run", unet.pte, device="apple-m9")
    assert refused.returncode != 0 and "device=apple-m9" in refused.stderr and "apple-m4" in refused.stderr


def test_a_missing_file_is_an_error(cli, tmp_path):
    ran = subprocess.run([cli, "run", tmp_path / "none.pte"], capture_output=True, text=True, check=False)
    assert ran.returncode != 0 and "none.pte" in ran.stderr
