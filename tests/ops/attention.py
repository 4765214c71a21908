import pytest
import torch
from helpers import check
from torch.nn.functional import scaled_dot_product_attention as attention


def qkv(heads=3, kv_heads=3, t=5, s=7, d=16):
    return [torch.randn(2, heads, t, d), torch.randn(2, kv_heads, s, d), torch.randn(2, kv_heads, s, d)]


@pytest.mark.parametrize(("t", "s", "d"), [(1, 1, 8), (5, 7, 16), (33, 65, 64), (4, 4, 24)])
def test_attention(t, s, d):
    check(attention, qkv(t=t, s=s, d=d))


def test_scale():
    check(lambda q, k, v: attention(q, k, v, scale=0.3), qkv())


def test_causal():
    check(lambda q, k, v: attention(q, k, v, is_causal=True), qkv(t=9, s=9))


@pytest.mark.parametrize("shape", [(5, 7), (2, 1, 5, 7), (2, 3, 5, 7)])
def test_mask(shape):
    check(lambda q, k, v, m: attention(q, k, v, attn_mask=m), [*qkv(), torch.randn(shape)])


def test_grouped_queries():
    check(lambda q, k, v: attention(q, k, v, enable_gqa=True), qkv(heads=6, kv_heads=2))


def test_heads_split_and_joined():
    def block(x):
        q, k, v = x.reshape(2, 6, 3, 4, 8).permute(2, 0, 3, 1, 4)
        return attention(q, k, v).transpose(1, 2).reshape(2, 6, 32)

    check(block, [torch.randn(2, 6, 96)])


def test_written_out():
    def block(q, k, v):
        return (q @ k.transpose(-2, -1) / 4).softmax(-1) @ v

    check(block, qkv())
