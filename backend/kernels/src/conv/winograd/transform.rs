//! The three transforms of F(4×4, 3×3) at the points 0, ±1, ±2, ∞ (Lavin and Gray, 2015), lanes along channels.
//!
//! All are taken in even/odd form: rows that differ in the sign of odd points share a sum and a difference.

#![expect(clippy::needless_range_loop, reason = "x and y are the axes of a tile")]

use super::plan::{BLOCK, FREQUENCIES, PATCH, TAPS, TILE};
use crate::element::Element;
use crate::epilogue::Act;
use crate::lanes::Lanes;
use crate::simd::{Simd, act};

/// Bᵀx: 6 operations on multipliers, 6 additions.
#[inline(always)]
fn bt<V: Simd>(x: [V; PATCH]) -> [V; PATCH] {
    let (two, four) = (x[0].all(2.0), x[0].all(4.0));
    let even = four.neg_mul_add(x[2], x[4]);
    let odd = four.neg_mul_add(x[1], x[3]);
    let (c, d) = (x[4] - x[2], x[3] - x[1]);
    [
        four.mul_add(x[0] - x[2], c),
        even + odd,
        even - odd,
        two.mul_add(d, c),
        two.neg_mul_add(d, c),
        four.neg_mul_add(d, x[5] - x[3]),
    ]
}

/// G g.
#[inline(always)]
fn g<V: Simd>(w: [V; 3]) -> [V; PATCH] {
    let (sixth, twelfth) = (w[0].all(1.0 / 6.0), w[0].all(1.0 / 12.0));
    let even = (w[0] + w[2]) * w[0].all(-1.0 / 6.0);
    let far = w[0].all(1.0 / 24.0).mul_add(w[0], w[2] * sixth);
    [
        w[0] * w[0].all(0.25),
        sixth.neg_mul_add(w[1], even),
        sixth.mul_add(w[1], even),
        twelfth.mul_add(w[1], far),
        twelfth.neg_mul_add(w[1], far),
        w[2],
    ]
}

/// Aᵀm.
#[inline(always)]
fn at<V: Simd>(m: [V; PATCH]) -> [V; TILE] {
    let (near, near_odd) = (m[1] + m[2], m[1] - m[2]);
    let (far, far_odd) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + near + far,
        m[0].all(2.0).mul_add(far_odd, near_odd),
        m[0].all(4.0).mul_add(far, near),
        m[0].all(8.0).mul_add(far_odd, near_odd) + m[5],
    ]
}

/// Where the source patch of a tile lies: distances between rows and pixels, in elements.
#[derive(Clone, Copy)]
pub(super) struct Patch<E> {
    pub src: *const E,
    pub row: usize,
    pub pixel: usize,
}

/// BᵀdB of `blocks` blocks of 16 channels: frequency f of block b goes to `dst + f * plane + b * step`.
#[inline(always)]
pub(super) unsafe fn input<V: Simd>(
    patch: Patch<f32>,
    blocks: usize,
    dst: *mut f32,
    plane: usize,
    step: usize,
) {
    for block in 0..blocks {
        for part in (0..BLOCK).step_by(V::LANES) {
            // SAFETY: the caller answers for 6 x 6 pixels of `blocks * 16` channels and for the destination.
            unsafe {
                let src = patch.src.add(block * BLOCK + part);
                input_vector::<V>(Patch { src, ..patch }, dst.add(block * step + part), plane);
            }
        }
    }
}

/// Rows are made in the pairs that share sums, so that all of it stays in registers.
#[inline(always)]
unsafe fn input_vector<V: Simd>(p: Patch<f32>, dst: *mut f32, plane: usize) {
    // SAFETY: as for `input`.
    unsafe {
        let (two, four) = (V::splat(2.0), V::splat(4.0));
        let mut rows = [[two; PATCH]; 2];
        for x in 0..PATCH {
            let even = four.neg_mul_add(p.at(2, x), p.at(4, x));
            let odd = four.neg_mul_add(p.at(1, x), p.at(3, x));
            rows[0][x] = even + odd;
            rows[1][x] = even - odd;
        }
        put_rows(rows, [1, 2], dst, plane);
        for x in 0..PATCH {
            let (c, d) = (p.at::<V>(4, x) - p.at(2, x), p.at::<V>(3, x) - p.at(1, x));
            rows[0][x] = two.mul_add(d, c);
            rows[1][x] = two.neg_mul_add(d, c);
        }
        put_rows(rows, [3, 4], dst, plane);
        for x in 0..PATCH {
            let (near, far) = (p.at::<V>(2, x), p.at::<V>(3, x));
            rows[0][x] = four.mul_add(p.at::<V>(0, x) - near, p.at::<V>(4, x) - near);
            rows[1][x] = four.neg_mul_add(far - p.at(1, x), p.at::<V>(5, x) - far);
        }
        put_rows(rows, [0, 5], dst, plane);
    }
}

impl Patch<f32> {
    #[inline(always)]
    unsafe fn at<V: Simd>(&self, y: usize, x: usize) -> V {
        // SAFETY: as for `input`.
        unsafe { V::load(self.src.add(y * self.row + x * self.pixel)) }
    }
}

/// Second half of the input transform for two rows of frequencies.
#[inline(always)]
unsafe fn put_rows<V: Simd>(rows: [[V; PATCH]; 2], at: [usize; 2], dst: *mut f32, plane: usize) {
    for (row, y) in rows.into_iter().zip(at) {
        // SAFETY: as for `input`.
        unsafe {
            for (x, v) in bt(row).into_iter().enumerate() {
                v.store(dst.add((y * PATCH + x) * plane));
            }
        }
    }
}

/// Copies a patch that leaves the image, has fewer than 16 channels left or is no f32, into 6 x 6 x 16, zero where there is
/// nothing. `valid` are the rows and the columns of the patch inside the image.
#[inline(always)]
pub(super) unsafe fn gather<V: Simd, E: Element>(
    patch: Patch<E>,
    channels: usize,
    valid: &[std::ops::Range<usize>; 2],
    dst: *mut f32,
) {
    let whole = channels >= BLOCK && valid.iter().all(|valid| *valid == (0..PATCH));
    for y in 0..PATCH {
        for x in 0..PATCH {
            if whole {
                let (from, to) = (y * patch.row + x * patch.pixel, (y * PATCH + x) * BLOCK);
                for part in (0..BLOCK).step_by(V::LANES) {
                    // SAFETY: as below.
                    unsafe { <E as Lanes>::load::<V>(patch.src.add(from + part)).store(dst.add(to + part)) }
                }
                continue;
            }
            let inside = valid[0].contains(&y) && valid[1].contains(&x);
            for part in (0..BLOCK).step_by(V::LANES) {
                let have = if inside { channels.saturating_sub(part).min(V::LANES) } else { 0 };
                // SAFETY: only elements inside the image are read; the caller answers for 6 x 6 x 16 to write.
                unsafe {
                    let offset = y * patch.row + x * patch.pixel + part;
                    let v = match have {
                        0 => V::splat(0.0),
                        n if n == V::LANES => <E as Lanes>::load(patch.src.wrapping_add(offset)),
                        n => <E as Lanes>::load_first(patch.src.wrapping_add(offset), n),
                    };
                    v.store(dst.add((y * PATCH + x) * BLOCK + part));
                }
            }
        }
    }
}

/// Packed filters of a run of k rows and where their transforms go.
#[derive(Clone, Copy)]
pub(super) struct Filters<E> {
    /// Word of tap 0, first column wanted.
    pub src: *const E,
    /// Distance between taps, in elements.
    pub tap: usize,
    /// Distance between words of k, in elements.
    pub word: usize,
    /// Row 0 of frequency 0; rows are `width` apart.
    pub dst: *mut f32,
    /// Distance between frequencies.
    pub plane: usize,
    /// Columns wanted, a multiple of 16.
    pub width: usize,
    /// Number of k rows.
    pub rows: usize,
    /// Number of their words.
    pub words: usize,
}

/// G g Gᵀ of every (row, column).
#[inline(always)]
pub(super) unsafe fn filter<V: Simd, E: Element>(f: Filters<E>) {
    for word in 0..f.words {
        for column in (0..f.width).step_by(V::LANES) {
            // SAFETY: the caller answers for nine taps of `words` words and 36 planes of the destination.
            unsafe {
                let src = f.src.add(word * f.word + E::PER_WORD * column);
                let dst = f.dst.add(E::PER_WORD * word * f.width + column);
                if E::PER_WORD == 1 {
                    filter_vector(
                        std::array::from_fn(|tap| <E as Lanes>::load::<V>(src.add(tap * f.tap))),
                        dst,
                        f.plane,
                    );
                    continue;
                }
                let pairs: [[V; 2]; TAPS] =
                    std::array::from_fn(|tap| <E as Lanes>::pairs(src.add(tap * f.tap)));
                filter_vector(pairs.map(|pair| pair[0]), dst, f.plane);
                if 2 * word + 1 < f.rows {
                    filter_vector(pairs.map(|pair| pair[1]), dst.add(f.width), f.plane);
                }
            }
        }
    }
}

/// A vector of columns of one row.
#[inline(always)]
unsafe fn filter_vector<V: Simd>(taps: [V; TAPS], dst: *mut f32, plane: usize) {
    let mut half = [[taps[0]; 3]; PATCH];
    for x in 0..3 {
        for (y, v) in g([taps[x], taps[x + 3], taps[x + 6]]).into_iter().enumerate() {
            half[y][x] = v;
        }
    }
    for (y, row) in half.into_iter().enumerate() {
        for (x, v) in g(row).into_iter().enumerate() {
            // SAFETY: as for `filter`.
            unsafe { v.store(dst.add((y * PATCH + x) * plane)) }
        }
    }
}

/// dst[c][r] = src[r][c] of `rows` rows of a block.
#[inline(always)]
pub(super) unsafe fn turn<V: Simd>(src: *const f32, (dst, step): (*mut f32, usize), rows: usize) {
    for row in (0..rows).step_by(V::LANES) {
        for column in (0..BLOCK).step_by(V::LANES) {
            let (src, dst) = (src.wrapping_add(row * BLOCK + column), dst.wrapping_add(column * step + row));
            // SAFETY: the caller's.
            unsafe { V::transpose((src, BLOCK), (dst, step), (rows - row).min(V::LANES), V::LANES) }
        }
    }
}

/// Rows and pixels of an image in elements.
#[derive(Clone, Copy)]
pub(super) struct Image<P> {
    pub ptr: P,
    pub row: usize,
    pub pixel: usize,
}

/// One tile of the destination and its epilogue. Pointers are at the tile's first pixel and the panel's first column.
#[derive(Clone, Copy)]
pub(super) struct Output<E> {
    /// Products: frequency 0 of the tile's row, `plane` between frequencies.
    pub products: *const f32,
    pub plane: usize,
    /// Columns to write.
    pub columns: usize,
    /// Rows and pixels of the tile inside the destination.
    pub size: [usize; 2],
    pub dst: Image<*mut E>,
    pub residual: Option<Image<*const E>>,
    pub bias: Option<*const f32>,
    pub scale_shift: Option<(*const f32, *const f32)>,
    pub act: Act,
    pub act2: Act,
}

/// Aᵀ m A, epilogue, store.
#[inline(always)]
pub(super) unsafe fn output<V: Simd, E: Element>(o: &Output<E>) {
    for column in (0..o.columns).step_by(V::LANES) {
        // SAFETY: the caller answers for every address the description reaches.
        unsafe {
            let mut y = products_to_pixels::<V>(o.products.add(column), o.plane);
            if let Some(bias) = o.bias {
                let bias = V::load(bias.add(column));
                for v in &mut y {
                    *v = *v + bias;
                }
            }
            activate(&mut y, o.act);
            if let Some((scale, shift)) = o.scale_shift {
                let (scale, shift) = (V::load(scale.add(column)), V::load(shift.add(column)));
                for v in &mut y {
                    *v = v.mul_add(scale, shift);
                }
            }
            let columns = (o.columns - column).min(V::LANES);
            if o.size == [TILE; 2] && columns == V::LANES {
                add_residual(&mut y, o, column);
                activate(&mut y, o.act2);
                for (i, v) in y.into_iter().enumerate() {
                    let to = o.dst.ptr.add(i / TILE * o.dst.row + i % TILE * o.dst.pixel + column);
                    <E as Lanes>::store(v, to);
                }
            } else {
                edge(&mut y, o, column, columns);
            }
        }
    }
}

/// The 4 x 4 pixels of a vector of columns.
#[inline(always)]
unsafe fn products_to_pixels<V: Simd>(products: *const f32, plane: usize) -> [V; TILE * TILE] {
    // SAFETY: as for `output`.
    unsafe {
        let mut half = [[V::splat(0.0); PATCH]; TILE];
        for x in 0..PATCH {
            let mut m = [V::splat(0.0); PATCH];
            for (y, m) in m.iter_mut().enumerate() {
                *m = V::load(products.add((y * PATCH + x) * plane));
            }
            for (y, v) in at(m).into_iter().enumerate() {
                half[y][x] = v;
            }
        }
        let mut pixels = [V::splat(0.0); TILE * TILE];
        for (y, row) in half.into_iter().enumerate() {
            for (x, v) in at(row).into_iter().enumerate() {
                pixels[y * TILE + x] = v;
            }
        }
        pixels
    }
}

#[inline(always)]
unsafe fn add_residual<V: Simd, E: Element>(y: &mut [V; TILE * TILE], o: &Output<E>, column: usize) {
    if let Some(r) = o.residual {
        for (i, v) in y.iter_mut().enumerate() {
            // SAFETY: as for `output`.
            unsafe {
                let from = r.ptr.add(i / TILE * r.row + i % TILE * r.pixel + column);
                *v = *v + <E as Lanes>::load::<V>(from);
            }
        }
    }
}

/// Residual, second activation and store of a tile cut by the destination's edge, in pixels or columns.
#[inline(always)]
unsafe fn edge<V: Simd, E: Element>(y: &mut [V; TILE * TILE], o: &Output<E>, column: usize, columns: usize) {
    // SAFETY: as for `output`; only pixels and columns inside are touched.
    unsafe {
        let inside = |i: usize| i / TILE < o.size[0] && i % TILE < o.size[1];
        if let Some(r) = o.residual {
            for (i, v) in y.iter_mut().enumerate() {
                if inside(i) {
                    let offset = i / TILE * r.row + i % TILE * r.pixel + column;
                    *v = *v + <E as Lanes>::load_first::<V>(r.ptr.add(offset), columns);
                }
            }
        }
        activate(y, o.act2);
        for (i, v) in y.iter().enumerate() {
            if inside(i) {
                let offset = i / TILE * o.dst.row + i % TILE * o.dst.pixel + column;
                <E as Lanes>::store_first(*v, o.dst.ptr.add(offset), columns);
            }
        }
    }
}

/// The usual activations stay in registers; the others go through memory, or their code would stand there 16 times.
#[inline(always)]
fn activate<V: Simd>(y: &mut [V; TILE * TILE], which: Act) {
    match which {
        Act::None => {}
        Act::Relu => {
            for v in y {
                *v = act(Act::Relu, *v);
            }
        }
        Act::Clamp { lo, hi } => {
            for v in y {
                *v = act(Act::Clamp { lo, hi }, *v);
            }
        }
        other => {
            let mut copy = *y;
            for v in &mut copy {
                *v = act(other, *v);
            }
            *y = copy;
        }
    }
}

const _: () = assert!(PATCH * PATCH == FREQUENCIES && PATCH == TILE + 2);
