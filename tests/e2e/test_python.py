"""The Python runtime end to end: answers, bits, bad input, life cycle."""

import gc
import subprocess
import sys
import threading
from pathlib import Path

import executorch_tandem  # noqa: F401  (registers the backend)
import pytest
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime


def load(path: Path):
    """The file's forward method and the program that must outlive it."""
    program = Runtime.get().load_program(path)
    return program, program.load_method("forward")


def test_answer_is_eagers(unet):
    _, method = load(unet.pte)
    (out,) = method.execute([unet.input])
    # Five convolutions deep with Winograd's rounding (about 1e-5 of range each).
    scale = unet.expected.abs().max()
    assert (out - unet.expected).abs().max() <= 1e-4 * scale


def test_same_bits_at_every_thread_count_and_run(unet):
    answers = []
    for threads, runs in ((1, 50), (2, 50), (5, 10)):
        portable_lib._unsafe_reset_threadpool(threads)
        _, method = load(unet.pte)
        answers += [method.execute([unet.input])[0].clone() for _ in range(runs)]
    portable_lib._unsafe_reset_threadpool(2)
    assert all(torch.equal(answers[0], other) for other in answers[1:])


@pytest.mark.parametrize(
    "wrong",
    [torch.randn(1, 5, 76, 93), torch.randn(1, 4, 76, 92), torch.randn(5, 76, 92), torch.ones(1, 5, 76, 92).int()],
    ids=["width", "channels", "rank", "dtype"],
)
def test_wrong_input_is_an_error_and_the_next_call_works(unet, wrong):
    _, method = load(unet.pte)
    with pytest.raises(Exception):  # noqa: B017  (the runtime's own exception type differs between versions)
        method.execute([wrong])
    (out,) = method.execute([unet.input])
    assert torch.allclose(out, unet.expected, atol=1e-4 * float(unet.expected.abs().max()))


def test_load_and_unload_in_a_loop(unet):
    first = None
    for _ in range(30):
        program, method = load(unet.pte)
        (out,) = method.execute([unet.input])
        first = out.clone() if first is None else first
        assert torch.equal(out, first)
        del program, method
        gc.collect()


def test_two_threads_on_two_methods(unet):
    methods = [load(unet.pte) for _ in range(2)]
    expected = methods[0][1].execute([unet.input])[0].clone()
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if not torch.equal(methods[index][1].execute([unet.input])[0], expected):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_damaged_delegate_is_refused(unet, tmp_path):
    data = bytearray(unet.pte.read_bytes())
    start = data.index(b"TNDM")
    script = "import sys, executorch_tandem; from executorch.runtime import Runtime; "
    script += "Runtime.get().load_program(sys.argv[1]).load_method('forward')"
    # magic, kind, version, length, checksum, payload
    for offset in (0, 6, 9, 17, 25, 200):
        broken = bytearray(data)
        broken[start + offset] ^= 0x55
        path = tmp_path / f"broken{offset}.pte"
        path.write_bytes(broken)
        ran = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
        assert ran.returncode == 1, (offset, ran.returncode, ran.stderr[-2000:])
        assert "RuntimeError" in ran.stderr, ran.stderr[-2000:]
