//! Conversions between f32 and i8 on the unit, where neighbours lie next to each other on both sides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{ByteUnit, Convert};
use crate::convert::{Args, Dequantise, Problem, Quantise};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::nest::{Block, Nest};

/// Elements of a tile.
const TILE: usize = 32 * 1024;
/// Elements in Gelement/s: 0.16 counted instructions each, at one a cycle of 4 GHz.
const GELEMS: f64 = 25.0;

fn nest(p: &Problem) -> Nest<2> {
    Nest::of([&p.dst, &p.src])
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let (len, strides) = nest(p).inner();
    if strides == [1, 1] || len <= 1 { Ok(()) } else { Err("neighbours lie apart") }
}

fn ns(p: &Problem, rates: &Rates) -> f64 {
    let n = p.dst.elements() as f64;
    let rows = n / nest(p).inner().0.max(1) as f64;
    rates.stream_ns(5.0 * n).max(n / GELEMS) + 5.0 * rows + rates.unit.entry_ns
}

fn tiles(p: &Problem, _phase: usize) -> usize {
    p.dst.elements().div_ceil(TILE)
}

/// The row that quantises, for a unit.
pub(crate) const fn quantise_row<U: ByteUnit>(name: &'static str, isa: Isa) -> Kernel<Quantise> {
    Kernel {
        name,
        isa,
        supports,
        ns,
        phases: |_| 1,
        tiles,
        workspace: |_| Workspace::default(),
        run: quantise::<U>,
    }
}

/// The row that dequantises, for a unit.
pub(crate) const fn dequantise_row<U: ByteUnit>(name: &'static str, isa: Isa) -> Kernel<Dequantise> {
    Kernel {
        name,
        isa,
        supports,
        ns,
        phases: |_| 1,
        tiles,
        workspace: |_| Workspace::default(),
        run: dequantise::<U>,
    }
}

unsafe fn quantise<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_, f32, i8>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    // SAFETY: the family's check passed; rows come from the problem's sizes.
    each(p, args, tiles, 1.0 / p.affine.scale, |rows| unsafe { U::f32_to_i8(rows) });
}

unsafe fn dequantise<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_, i8, f32>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    // SAFETY: as above.
    each(p, args, tiles, p.affine.scale, |rows| unsafe { U::i8_to_f32(rows) });
}

/// The rows of some tiles, many at a time.
fn each<S, D>(
    p: &Problem,
    args: &Args<'_, S, D>,
    tiles: Range<usize>,
    factor: f32,
    convert: impl Fn(&Convert<S, D>),
) {
    let nest = nest(p);
    let [dst_row, src_row] = nest.row_strides();
    for Block { at: [to, from], rows, len } in
        nest.blocks(tiles.start * TILE..(tiles.end * TILE).min(nest.elements()))
    {
        convert(&Convert {
            src: args.src.ptr().wrapping_add(from),
            dst: args.dst.ptr().wrapping_add(to),
            len,
            rows,
            src_row,
            dst_row,
            factor,
            zero: i32::from(p.affine.zero),
        });
    }
}
