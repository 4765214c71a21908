//! Networks in small with the structure of those the backend is for.

use tandem_schemas::program::*;

use super::{Builder, Model, Stages};

fn bn() -> Stages {
    Stages { bias: true, relu: true, scale: true, ..Stages::default() }
}

fn biased() -> Stages {
    Stages { bias: true, ..Stages::default() }
}

/// `[b, t, c]` → heads of `[b, h, t, d]`.
fn heads(b: &mut Builder, x: i32, heads: usize) -> i32 {
    let [n, t, c] = b.sizes(x).try_into().unwrap();
    let split = b.reshape(x, &[n, t, heads, c / heads]);
    b.permute(split, &[0, 2, 1, 3])
}

/// Attention of `q` on `kv`, both `[b, t, c]`, with projections.
fn attend(b: &mut Builder, q: i32, kv: i32, inner: usize) -> i32 {
    let width = b.sizes(q)[2];
    let [pq, pk, pv] = [q, kv, kv].map(|x| b.linear(x, inner, &biased()));
    let [hq, hk, hv] = [pq, pk, pv].map(|x| heads(b, x, 2));
    let out = b.attention(hq, hk, hv);
    let rows = b.permute(out, &[0, 2, 1, 3]);
    let t = b.sizes(rows)[1];
    let flat = b.reshape(rows, &[1, t, inner]);
    b.linear(flat, width, &Stages { bias: true, residual: Some(q), ..Stages::default() })
}

/// SqueezeSAM's shape: patch embedding, encoder with conv → ReLU → scale+shift, a two-way transformer at the bottom,
/// a decoder of convolutions with pixel-shuffle stores and two-segment sources, masks as a product, a resize.
pub fn squeezesam(size: usize, levels: usize, c: usize) -> Model {
    let mut b = Builder::default();
    let image = b.input(&[1, 5, size, size]);
    let patch = b.conv(&[image], c, 2, 2, &biased());
    let mut x = b.norm(NormKind::Group, patch, 1);
    let mut skips = Vec::new();
    for level in 0..=levels {
        if level > 0 {
            skips.push(x);
            x = b.pool(PoolKind::Max, x, 2, 2);
        }
        for _ in 0..2 {
            x = b.conv(&[x], c, 3, 1, &bn());
        }
    }
    let [_, _, h, w] = b.sizes(x).try_into().unwrap();
    let flat = b.reshape(x, &[1, c, h * w]);
    let keys = b.permute(flat, &[0, 2, 1]);
    let tokens = b.plain(&[1, 6, c]);
    let mut queries = attend(&mut b, tokens, tokens, c);
    queries = b.norm(NormKind::Layer, queries, 0);
    queries = attend(&mut b, queries, keys, c / 2);
    queries = b.norm(NormKind::Layer, queries, 0);
    let keys = attend(&mut b, keys, queries, c / 2);
    let keys = b.norm(NormKind::Layer, keys, 0);
    let back = b.permute(keys, &[0, 2, 1]);
    x = b.reshape(back, &[1, c, h, w]);
    while let Some(skip) = skips.pop() {
        let up = b.conv_with(&[x], c / 2, 1, 1, (1, 2), &bn());
        x = b.conv(&[skip, up], c, 3, 1, &bn());
        x = b.conv(&[x], c, 3, 1, &bn());
    }
    let masks = b.slice(queries, 1, 1, 4);
    let mut hyper = b.linear(masks, c, &Stages { bias: true, relu: true, ..Stages::default() });
    hyper = b.linear(hyper, c, &biased());
    let [_, _, h, w] = b.sizes(x).try_into().unwrap();
    let features = b.reshape(x, &[1, c, h * w]);
    let logits = b.matmul(hyper, features);
    let logits = b.reshape(logits, &[1, 4, h, w]);
    let chosen = b.slice(logits, 1, 1, 3);
    let resized = b.resize(ResizeKind::Bilinear, chosen, [size, size]);
    let iou = b.slice(queries, 1, 0, 1);
    let iou = b.linear(iou, 4, &biased());
    let iou = b.reshape(iou, &[1, 4]);
    b.output(resized);
    b.output(iou);
    b.finish()
}

/// ResNet's and MobileNet's blocks: residuals in epilogues, depthwise, squeeze and excite, a classifier.
pub fn blocks(size: usize, c: usize) -> Model {
    let mut b = Builder::default();
    let image = b.input(&[2, 3, size, size]);
    let mut x = b.conv(&[image], c, 3, 2, &Stages { bias: true, relu: true, ..Stages::default() });
    for _ in 0..2 {
        let y = b.conv(&[x], c, 3, 1, &Stages { bias: true, relu: true, ..Stages::default() });
        x = b.conv(
            &[y],
            c,
            3,
            1,
            &Stages { bias: true, residual: Some(x), relu2: true, ..Stages::default() },
        );
    }
    let wide = b.conv(&[x], 3 * c, 1, 1, &biased());
    let wide = b.unary(Activation::HardSwish, wide);
    let deep = b.depthwise(wide, 3, 2, &biased());
    let pooled = b.adaptive(deep, 1);
    let squeezed = b.conv(&[pooled], c, 1, 1, &Stages { bias: true, relu: true, ..Stages::default() });
    let excited = b.conv(&[squeezed], 3 * c, 1, 1, &biased());
    let gate = b.unary(Activation::HardSigmoid, excited);
    let gated = b.binary(BinaryKind::Mul, deep, gate);
    let narrow = b.conv(&[gated], c, 1, 1, &biased());
    let sum = b.binary(BinaryKind::Add, narrow, narrow);
    let mean = b.adaptive(sum, 1);
    let flat = b.reshape(mean, &[2, c]);
    let logits = b.linear(flat, 10, &biased());
    b.output(logits);
    b.finish()
}

/// ViT's structure: patches written behind a class token, q, k and v as slices of one product, a head on the token.
pub fn vit(size: usize, c: usize, depth: usize) -> Model {
    let mut b = Builder::default();
    let image = b.input(&[1, 3, size, size]);
    let patches = b.conv(&[image], c, 4, 4, &biased());
    let [_, _, h, w] = b.sizes(patches).try_into().unwrap();
    let flat = b.reshape(patches, &[1, c, h * w]);
    let rows = b.permute(flat, &[0, 2, 1]);
    let class = b.plain(&[1, 1, c]);
    let all = b.concat(&[class, rows], 1);
    let position = b.plain(&[1, h * w + 1, c]);
    let mut x = b.binary(BinaryKind::Add, all, position);
    for _ in 0..depth {
        let normed = b.norm(NormKind::Layer, x, 0);
        let qkv = b.linear(normed, 3 * c, &biased());
        let parts = [0, 1, 2].map(|i| b.slice(qkv, 2, i * c, c));
        let [q, k, v] = parts.map(|part| heads(&mut b, part, 4));
        let out = b.attention(q, k, v);
        let out = b.permute(out, &[0, 2, 1, 3]);
        let out = b.reshape(out, &[1, h * w + 1, c]);
        x = b.linear(out, c, &Stages { bias: true, residual: Some(x), ..Stages::default() });
        let normed = b.norm(NormKind::Layer, x, 0);
        let wide = b.linear(normed, 2 * c, &biased());
        let wide = b.unary(Activation::Gelu, wide);
        x = b.linear(wide, c, &Stages { bias: true, residual: Some(x), ..Stages::default() });
    }
    let normed = b.norm(NormKind::Layer, x, 0);
    let token = b.slice(normed, 1, 0, 1);
    let token = b.reshape(token, &[1, c]);
    let logits = b.linear(token, 10, &biased());
    b.output(logits);
    b.finish()
}
