//! Copies of strided matrices in the order the product reads.

use super::Tile;

/// A strided matrix: first element, strides of rows and columns.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub ptr: *const f32,
    pub row: usize,
    pub column: usize,
}

/// dst[r * step + c] = src[r][c] for `rows` x `columns` elements.
///
/// # Safety
/// All named elements can be read or written; the CPU has the vector's instructions.
#[inline(always)]
pub(crate) unsafe fn pack<V: Tile>(src: Matrix, dst: *mut f32, step: usize, rows: usize, columns: usize) {
    // SAFETY: the caller's.
    unsafe {
        if src.column == 1 {
            for r in 0..rows {
                std::ptr::copy_nonoverlapping(src.ptr.add(r * src.row), dst.add(r * step), columns);
            }
        } else if src.row == 1 {
            for r in (0..rows).step_by(V::LANES) {
                for c in (0..columns).step_by(V::LANES) {
                    let from = src.ptr.add(r + c * src.column);
                    let to = dst.add(r * step + c);
                    // Rows of the transpose's source are our columns.
                    let (n, m) = ((columns - c).min(V::LANES), (rows - r).min(V::LANES));
                    V::transpose((from, src.column), (to, step), n, m);
                }
            }
        } else {
            for r in 0..rows {
                for c in 0..columns {
                    *dst.add(r * step + c) = *src.ptr.add(r * src.row + c * src.column);
                }
            }
        }
    }
}
