"""Bad calls are refused, and the method stays usable."""

import pytest
import torch
from helpers import Fn, export, load


@pytest.fixture(scope="module")
def method():
    exported = export(Fn(lambda x: x.neg()), [torch.randn(2, 3)])
    return load(exported.pte())


BAD = {"dtype": torch.zeros(2, 3, dtype=torch.int32), "size": torch.zeros(2, 4), "rank": torch.zeros(6)}


@pytest.mark.parametrize("what", BAD)
def test_wrong_input(method, what):
    with pytest.raises(RuntimeError):
        method.execute([BAD[what]])
    x = torch.randn(2, 3)
    torch.testing.assert_close(method.execute([x])[0], -x)


def test_damaged_program():
    exported = export(Fn(lambda x: x.neg()), [torch.randn(2, 3)])
    pte = bytearray(exported.pte())
    at = pte.index(b"TNDM") + 40
    pte[at] ^= 0xFF
    with pytest.raises(RuntimeError):
        load(bytes(pte))


def test_unknown_instruction_set(monkeypatch):
    monkeypatch.setenv("TANDEM_ISA", "abacus")
    exported = export(Fn(lambda x: x.neg()), [torch.randn(2, 3)])
    with pytest.raises(RuntimeError):
        load(exported.pte())
