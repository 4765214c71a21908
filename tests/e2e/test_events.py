"""Events of a delegate as ExecuTorch's Inspector shows them."""

import json
import subprocess

import executorch_tandem  # noqa: F401  (registers the backend)
from executorch.devtools import Inspector
from executorch.runtime import Runtime


def test_inspector_shows_the_rows_of_the_profile(cli, unet, tmp_path):
    program = Runtime.get().load_program(unet.pte, enable_etdump=True)
    method = program.load_method("forward")
    for _ in range(3):
        method.execute([unet.input])
    dump, data = tmp_path / "events.etdp", tmp_path / "profile.json"
    program.write_etdump_result_to_file(str(dump), str(tmp_path / "outputs.bin"))
    blocks = Inspector(etdump_path=str(dump)).event_blocks
    events = [event for block in blocks for event in block.events if event.is_delegated_op]
    subprocess.run([cli, "profile", unet.pte, "--json", data], check=True, capture_output=True)
    rows = [row for row in json.loads(data.read_text())["models"][0]["rows"] if row["place"] == "tandem"]
    assert [event.name for event in events] == [row["name"] for row in rows]
    assert all(len(event.perf_data.raw) == 3 and event.perf_data.p50 > 0 for event in events)
    assert [event.delegate_debug_metadatas[0].decode() for event in events] == [row["kernel"] for row in rows]
