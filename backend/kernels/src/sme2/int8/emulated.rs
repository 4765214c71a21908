//! The contract in scalar Rust.

use std::ops::Range;

use super::{ByteUnit, Convert, Direct, PARAMETERS, ProductGroups, ProductI8, Quantise, zero_pair};
use crate::panels;
use crate::quant::{Parameters, bound, requantise, rounded};
use crate::sme2::Emulated;
use crate::sme2::emulated::scatter;

impl<const LANES: usize> ByteUnit for Emulated<LANES> {
    unsafe fn quantise(q: &Quantise) {
        let wide = 2 * LANES;
        for position in 0..q.groups * wide {
            let (group, lane) = (position / wide, position % wide);
            let params = q.params.wrapping_add(group * PARAMETERS * wide + lane);
            // SAFETY: the caller's.
            unsafe {
                let row = std::slice::from_raw_parts(*q.rows.add(position), q.k);
                let at = |i: usize| params.add(i * wide);
                let p = if q.fixed == 0 {
                    let p = Parameters::of(row);
                    at(0).write(p.inverse);
                    at(1).write(p.zero as f32);
                    at(2).write(p.scale);
                    at(3).write(f32::from_bits(zero_pair(p.zero)));
                    p
                } else {
                    Parameters { inverse: *at(0), zero: (*at(1)).to_bits() as i32, scale: *at(2) }
                };
                for (k, &x) in row.iter().enumerate() {
                    let byte = if q.fixed == 0 { p.fused(x) } else { p.rounded(x) };
                    *q.dst.add(group * q.group + (k / 4 * wide + lane) * 4 + k % 4) = byte;
                }
            }
        }
    }

    unsafe fn product_i8(p: &ProductI8) {
        each::<LANES>(p, |e| {
            // SAFETY: the caller's.
            unsafe {
                let zero = (*e.params.add(3 * 2 * LANES)).to_bits() as i16;
                let sum = sum(p, &e, 2 * LANES, 0..p.words) + i32::from(zero) * *p.sums.add(e.column);
                finish(p, sum, *e.params.add(2 * 2 * LANES), e.column)
            }
        });
    }

    unsafe fn product_groups(g: &ProductGroups) {
        let p = &ProductI8 { nibbles: 1, ..g.product };
        each::<LANES>(p, |e| {
            // SAFETY: the caller's.
            unsafe {
                let mut total = -(*e.params.add(2 * LANES) * *g.sums.add(e.column));
                for (i, word) in (0..p.words).step_by(g.scale_words).enumerate() {
                    let sum = sum(p, &e, 2 * LANES, word..word + g.scale_words);
                    total = (sum as f32).mul_add(*p.scale.add(i * g.scale_step + e.column), total);
                }
                let bias = if p.bias.is_null() { 0.0 } else { *p.bias.add(e.column) };
                bound(total * *e.params.add(2 * 2 * LANES) + bias, *p.clamp)
            }
        });
    }

    unsafe fn direct(d: &Direct) {
        let wide = 2 * LANES;
        let mut segments = d.segments;
        for block in 0..d.blocks {
            let mut next = segments;
            for channel in d.first..d.columns.min(d.first + d.width) {
                // SAFETY: the caller's.
                let value = |position: usize| unsafe { direct(d, channel, block * wide + position) };
                // SAFETY: the caller's.
                unsafe {
                    if segments.is_null() {
                        for i in 0..wide {
                            *(*d.rows.add(block * wide + i)).add(channel) = value(i);
                        }
                    } else {
                        next = scatter(segments, *d.rows.add(channel - d.first), value);
                    }
                }
            }
            segments = next;
        }
    }

    unsafe fn f32_to_i8(rows: &Convert<f32, i8>) {
        let parameters = Parameters { inverse: rows.factor, zero: rows.zero, scale: 1.0 / rows.factor };
        // SAFETY: the caller's.
        unsafe { convert(rows, |x| parameters.rounded(x)) }
    }

    unsafe fn i8_to_f32(rows: &Convert<i8, f32>) {
        // SAFETY: the caller's.
        unsafe { convert(rows, |q| (i32::from(q) - rows.zero) as f32 * rows.factor) }
    }
}

unsafe fn convert<S: Copy, D>(rows: &Convert<S, D>, value: impl Fn(S) -> D) {
    for (row, i) in (0..rows.rows).flat_map(|row| (0..rows.len).map(move |i| (row, i))) {
        // SAFETY: the caller's.
        unsafe {
            *rows.dst.add(row * rows.dst_row + i) = value(*rows.src.add(row * rows.src_row + i));
        }
    }
}

/// One element: where its operands begin, and its column.
struct Element {
    lhs: *const i8,
    rhs: *const u8,
    params: *const f32,
    column: usize,
}

/// Stores what `value` gives for every element.
fn each<const LANES: usize>(p: &ProductI8, value: impl Fn(Element) -> f32) {
    let wide = 2 * LANES;
    for panel in 0..p.panels {
        let first = p.first + panel * p.width;
        for column in 0..p.width.min(p.columns.saturating_sub(first)) {
            for position in 0..p.groups * wide {
                let (group, lane) = (position / wide, position % wide);
                let element = Element {
                    lhs: p.lhs.wrapping_add(group * p.lhs_group + lane * 4),
                    rhs: p.rhs.wrapping_add(panel * p.rhs_panel + column * 4),
                    params: p.params.wrapping_add(group * PARAMETERS * wide + lane),
                    column: first + column,
                };
                // SAFETY: the caller's, of the product.
                unsafe { *(*p.rows.add(position)).add(first + column) = value(element) }
            }
        }
    }
}

/// Some words of one position and one column.
unsafe fn sum(p: &ProductI8, e: &Element, wide: usize, words: Range<usize>) -> i32 {
    let mut sum = 0;
    for word in words {
        for i in 0..4 {
            // SAFETY: the caller's.
            unsafe {
                let byte = *e.rhs.add(word * p.width * 4 + i);
                let lhs = |word: usize| i32::from(*e.lhs.add(word * wide * 4 + i));
                sum += if p.nibbles == 0 {
                    lhs(word) * i32::from(byte as i8)
                } else {
                    let [low, high] = panels::nibbles(byte).map(i32::from);
                    lhs(2 * word) * low + lhs(2 * word + 1) * high
                };
            }
        }
    }
    sum
}

unsafe fn finish(p: &ProductI8, sum: i32, scale: f32, column: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let bias = if p.bias.is_null() { 0.0 } else { *p.bias.add(column) };
        let column = *p.scale.add(column);
        match p.dst_scale.as_ref() {
            None => bound((sum as f32 * scale).mul_add(column, bias), *p.clamp),
            Some(dst) => rounded(sum.into(), [column, bias], *p.clamp) * dst,
        }
    }
}

/// One position of a channel.
unsafe fn direct(d: &Direct, channel: usize, position: usize) -> i8 {
    let (mut sum, mut word) = (0, 0);
    // SAFETY: the caller's.
    unsafe {
        for run in 0..d.run_count {
            let run = *d.runs.add(run);
            for i in 0..run.count {
                let slab = d.slab.add(4 * (run.offset + i * d.step + position));
                let weight = d.weight.add((word * d.width + channel - d.first) * 4);
                sum += (0..4).map(|i| i32::from(*slab.add(i)) * i32::from(*weight.add(i))).sum::<i32>();
                word += 1;
            }
        }
        sum += i32::from(d.src_zero as i16) * *d.sums.add(channel);
        let column = [*d.factor.add(channel), *d.shift.add(channel)];
        requantise(sum.into(), column, [d.lower, d.upper], d.zero)
    }
}
