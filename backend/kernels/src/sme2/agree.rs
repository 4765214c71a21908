//! The unit's packs and copies against the emulated unit's, for every number of elements in a word.

use proptest::prelude::*;
use tandem_base::Isa;

use super::{Copy, Emulated, Pack, Sme2, Unit};
use crate::element::{Packed, f16};
use crate::testing::Random;

fn elements<E: Packed>(n: usize) -> Vec<E> {
    let mut random = Random::new(n as u64);
    (0..n).map(|_| bytemuck::cast_slice::<u64, E>(&[random.next()])[0]).collect()
}

/// Both units' results, bytes of dst first filled alike.
fn both<E: Packed>(words: usize, run: impl Fn(bool, *mut E)) {
    let [ours, emulated] = [true, false].map(|unit| {
        let mut dst = vec![0x5a5a_5a5au32; words];
        run(unit, dst.as_mut_ptr().cast());
        dst
    });
    assert_eq!(ours, emulated, "{} elements in a word", E::PER_WORD);
}

unsafe fn emulated_pack<E: Packed>(pack: &Pack<E>) {
    // SAFETY: the caller's.
    unsafe {
        match Sme2::lanes() {
            4 => Emulated::<4>::pack(pack),
            8 => Emulated::<8>::pack(pack),
            16 => Emulated::<16>::pack(pack),
            32 => Emulated::<32>::pack(pack),
            _ => Emulated::<64>::pack(pack),
        }
    }
}

fn packs<E: Packed>(groups: usize, k: usize, first: usize) {
    let lanes = 2 * Sme2::lanes();
    let (row, words) = (first + k, k.div_ceil(E::PER_WORD));
    let src = elements::<E>(groups * lanes * row);
    let rows: Vec<*const E> = (0..groups * lanes).map(|i| src[i * row..].as_ptr()).collect();
    both::<E>(groups * words * lanes, |unit, dst| {
        let pack = Pack { rows: rows.as_ptr(), first, groups, k, dst, step: lanes, group: words * lanes };
        // SAFETY: rows have k elements behind their first, dst has room for all groups.
        unsafe { if unit { Sme2::pack(&pack) } else { emulated_pack(&pack) } }
    });
}

fn copies<E: Packed>(planes: usize, rows: usize, width: usize, step: usize) {
    let (row, plane) = (step * (width - 1) + 3, rows * (step * (width - 1) + 3) + 1);
    let src = elements::<E>(planes * plane);
    let (dst_row, words) = (width + 1, planes.div_ceil(E::PER_WORD));
    both::<E>(words * rows * dst_row, |unit, dst| {
        let copy = Copy {
            src: src.as_ptr(),
            dst,
            width,
            step,
            rows,
            src_row: row,
            dst_row,
            planes,
            src_plane: plane,
            dst_plane: rows * dst_row,
        };
        // SAFETY: planes of rows of elements lie in src, and of words in dst.
        unsafe { if unit { Sme2::copy(&copy) } else { copy.on_core() } }
    });
}

proptest! {
    #[test]
    fn the_unit_packs_as_the_emulated_one(groups in 1usize..4, k in 1usize..150, first in 0usize..3) {
        if Isa::detect().has(Isa::SME2) {
            packs::<f32>(groups, k, first);
            packs::<f16>(groups, k, first);
            packs::<i8>(groups, k, first);
        }
    }

    #[test]
    fn the_unit_copies_as_the_emulated_one(
        planes in 1usize..6, rows in 1usize..4, width in prop_oneof![1usize..20, 30usize..150], step in 1usize..3,
    ) {
        if Isa::detect().has(Isa::SME2) {
            copies::<f32>(planes, rows, width, step);
            copies::<f16>(planes, rows, width, step);
        }
    }
}
