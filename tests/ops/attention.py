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


def test_boolean_masks():
    causal = torch.ones(5, 7, dtype=torch.bool).tril(2)

    def masked(q, k, v, m):
        return attention(q, k, v, attn_mask=m), attention(q, k, v, attn_mask=causal, scale=0.2)

    check(masked, [*qkv(), torch.rand(5, 7) > 0.2])


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotated_positions(interleaved):
    def halves(x):
        return (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)

    def rotated(x, cos, sin):
        a, b = halves(x)
        pair = a * cos - b * sin, a * sin + b * cos
        return torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)

    def attend(q, k, v, cos, sin):
        q, k = rotated(q, cos[: q.shape[-2]], sin[: q.shape[-2]]), rotated(k, cos, sin)
        return attention(q, k, v, enable_gqa=True)

    angle = torch.randn(7, 8)
    check(attend, [*qkv(heads=4, kv_heads=2), angle.cos(), angle.sin()])
