//! The one packed weight format: `[n/32][k/g][32][g]`, the last panel 16 columns wide where 16 suffice.
//!
//! `g` is 1 for f32, 2 for f16 and bf16 and 4 for i8; i4 packs groups of 8 in 4 bytes, the first four k in the low halves of the bytes. Columns
//! behind n and k behind the last are zero. See ARCHITECTURE.md, "Panels".

/// Columns of a full panel.
pub const PANEL: usize = 32;
/// Columns of a narrow last panel.
pub const NARROW: usize = 16;
/// Version of the format, stored with every constant.
pub const VERSION: u16 = 1;

/// Columns `n` takes with its padding: whole panels of 32, the last one 16 where 16 suffice.
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(NARROW)
}

/// Number of panels of `n` columns.
pub fn count(n: usize) -> usize {
    n.div_ceil(PANEL)
}

/// Width of panel `index` of `n` columns: 32, or 16 for a narrow last one.
pub fn width(n: usize, index: usize) -> usize {
    (padded(n) - index * PANEL).min(PANEL)
}

/// Packs f32 weights. `at(k, n)` gives the weight of row `k` and column `n`.
pub fn pack(k: usize, n: usize, mut at: impl FnMut(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = Vec::with_capacity(k * padded(n));
    for panel in 0..count(n) {
        for row in 0..k {
            for column in panel * PANEL..panel * PANEL + width(n, panel) {
                packed.push(if column < n { at(row, column) } else { 0.0 });
            }
        }
    }
    packed
}

/// Where the weight of row `k` and column `n` lies in panels of `rows` rows.
pub fn index(rows: usize, total_n: usize, k: usize, n: usize) -> usize {
    let panel = n / PANEL;
    panel * PANEL * rows + k * width(total_n, panel) + n % PANEL
}

/// Packs weights in words of `g` k. `at(k, n)` gives the weight of row `k` and column `n`.
pub fn pack_words<T: Copy + Default>(
    g: usize,
    k: usize,
    n: usize,
    mut at: impl FnMut(usize, usize) -> T,
) -> Vec<T> {
    let mut packed = vec![T::default(); k.next_multiple_of(g) * padded(n)];
    for (row, column) in (0..k).flat_map(|row| (0..n).map(move |column| (row, column))) {
        packed[in_words(g, k, n, row, column)] = at(row, column);
    }
    packed
}

/// Where the weight of row `k` and column `n` lies in panels of `rows` rows, words of `g` k.
pub fn in_words(g: usize, rows: usize, total_n: usize, k: usize, n: usize) -> usize {
    g * index(rows.div_ceil(g), total_n, k / g, n) + k % g
}

/// Packs i8 weights in words of four k.
pub fn pack_i8(k: usize, n: usize, mut at: impl FnMut(usize, usize) -> i8) -> Vec<u8> {
    pack_words(4, k, n, |k, n| at(k, n) as u8)
}

/// Where the i8 weight of row `k` and column `n` lies in panels of `rows` rows.
pub fn byte(rows: usize, total_n: usize, k: usize, n: usize) -> usize {
    in_words(4, rows, total_n, k, n)
}

/// Packs i4 weights, of -8..8, in words of eight k.
///
/// A mask and a shift unpack them, on SME2 two instructions for two vectors. LUTI4 needs one, with words of four k in two
/// bytes: 589,752 instructions instead of 655,188 for 256x1024x1024 at 512 bits. The outer products bound both forms
/// alike in modelled cycles, and cores, which have no LUTI4, unpack this one with the fewest instructions.
pub fn pack_i4(k: usize, n: usize, mut at: impl FnMut(usize, usize) -> i8) -> Vec<u8> {
    let mut packed = vec![0; k.next_multiple_of(8) / 2 * padded(n)];
    for (row, column) in (0..k).flat_map(|row| (0..n).map(move |column| (row, column))) {
        let (byte, half) = nibble(k, n, row, column);
        packed[byte] |= (at(row, column) as u8 & 15) << (4 * half);
    }
    packed
}

/// The byte, and the half of it, that hold the i4 weight of row `k` and column `n` in panels of `rows` rows.
pub fn nibble(rows: usize, total_n: usize, k: usize, n: usize) -> (usize, usize) {
    (4 * index(rows.div_ceil(8), total_n, k / 8, n) + k % 4, k % 8 / 4)
}

/// A byte's two i4, the low one first.
pub fn nibbles(byte: u8) -> [i8; 2] {
    [(byte << 4) as i8 >> 4, byte as i8 >> 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_finds_what_pack_placed() {
        for n in [1, 15, 16, 17, 32, 33, 48, 49, 64, 82] {
            let packed = pack(5, n, |k, c| (k * 1000 + c + 1) as f32);
            assert_eq!(packed.len(), 5 * padded(n));
            for k in 0..5 {
                for c in 0..n {
                    assert_eq!(packed[index(5, n, k, c)], (k * 1000 + c + 1) as f32);
                }
            }
        }
    }
}
