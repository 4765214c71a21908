//! The assembly's entries.

#![cfg(target_arch = "aarch64")]

use std::sync::OnceLock;

use super::{Copy, Pack, Product, Rows, Taps, Unit, Unpack};

#[cfg(not(target_vendor = "apple"))]
macro_rules! symbols {
    () => {
        include_str!("elf.s")
    };
}
#[cfg(target_vendor = "apple")]
macro_rules! symbols {
    () => {
        include_str!("macho.s")
    };
}

std::arch::global_asm!(
    concat!(
        symbols!(),
        include_str!("frame.s"),
        include_str!("product_f32.s"),
        include_str!("pack_f32.s"),
        include_str!("copy_f32.s"),
        include_str!("depthwise_f32.s"),
        include_str!("unpack_f32.s"),
        include_str!("softmax_f32.s"),
        include_str!("int8/quantise_i8.s"),
        include_str!("int8/product_i8.s"),
        include_str!("int8/product_i4_groups.s")
    ),
    options(raw)
);

unsafe extern "C" {
    fn tandem_sme2_vector() -> u64;
    fn tandem_sme2_product_f32(product: *const Product);
    fn tandem_sme2_pack_f32(pack: *const Pack);
    fn tandem_sme2_depthwise_f32(taps: *const Taps);
    fn tandem_sme2_softmax_f32(rows: *const Rows);
    fn tandem_sme2_unpack_f32(unpack: *const Unpack);
    fn tandem_sme2_copy_f32(copy: *const Copy);
    fn tandem_sme2_clear_f32(dst: *mut f32, count: usize);
}

/// The matrix unit of this CPU.
pub struct Sme2;

impl Unit for Sme2 {
    fn lanes() -> usize {
        static LANES: OnceLock<usize> = OnceLock::new();
        // SAFETY: asked only where a row of the unit is planned or run, which needs its instructions.
        *LANES.get_or_init(|| unsafe { tandem_sme2_vector() } as usize / size_of::<f32>())
    }

    unsafe fn pack(pack: &Pack) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_pack_f32(pack) }
    }

    unsafe fn product(product: &Product) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_product_f32(product) }
    }

    unsafe fn depthwise(taps: &Taps) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_depthwise_f32(taps) }
    }

    unsafe fn softmax(rows: &Rows) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_softmax_f32(rows) }
    }

    unsafe fn unpack(unpack: &Unpack) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_unpack_f32(unpack) }
    }

    unsafe fn copy(copy: &Copy) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_copy_f32(copy) }
    }

    unsafe fn clear(dst: *mut f32, count: usize) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_clear_f32(dst, count) }
    }
}

/// Addresses of the entries, for tests of how they treat their caller.
#[cfg(test)]
macro_rules! addresses {
    ($($name:ident: $entry:ident),*) => {
        $(pub(super) fn $name() -> usize {
            $entry as *const () as usize
        })*
    };
}
#[cfg(test)]
addresses! {
    product_entry: tandem_sme2_product_f32,
    pack_entry: tandem_sme2_pack_f32,
    unpack_entry: tandem_sme2_unpack_f32,
    depthwise_entry: tandem_sme2_depthwise_f32,
    copy_entry: tandem_sme2_copy_f32
}
