import torch
from helpers import check


def test_clone():
    check(lambda x: x.clone().neg(), [torch.randn(3, 4)], tolerance=0)


def test_memory_format():
    exported = check(lambda x: x.neg().to(memory_format=torch.channels_last), [torch.randn(2, 3, 4, 5)], tolerance=0)
    assert exported.ops() == ["Unary"]


def test_dropout_in_inference():
    check(lambda x: torch.nn.functional.dropout(x, 0.5, training=False).neg(), [torch.randn(3, 4)], tolerance=0)
