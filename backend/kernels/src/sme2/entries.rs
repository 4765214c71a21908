//! The assembly's entries.

#![cfg(target_arch = "aarch64")]

use std::sync::OnceLock;

use super::{Copy, Pack, Product, Rows, Taps, Thin, Unit, Unpack};
use crate::element::{Element, Format, Packed};

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
        include_str!("product.s"),
        include_str!("gemv_f32.s"),
        include_str!("pack.s"),
        include_str!("copy.s"),
        include_str!("depthwise_f32.s"),
        include_str!("unpack_f32.s"),
        include_str!("softmax_f32.s"),
        include_str!("int8/quantise_i8.s"),
        include_str!("int8/product_i8.s"),
        include_str!("int8/product_i4_groups.s"),
        include_str!("int8/convert_i8.s"),
        include_str!("int8/direct_i8.s"),
        include_str!("int8/copy_i8.s")
    ),
    options(raw)
);

unsafe extern "C" {
    fn tandem_sme2_vector() -> u64;
    fn tandem_sme2_product_f32(product: *const Product);
    fn tandem_sme2_product_f16(product: *const Product);
    fn tandem_sme2_product_f16_f32(product: *const Product);
    fn tandem_sme2_product_bf16(product: *const Product);
    fn tandem_sme2_product_bf16_f32(product: *const Product);
    fn tandem_sme2_gemv_f32(thin: *const Thin);
    fn tandem_sme2_pack_f32(pack: *const Pack);
    fn tandem_sme2_pack_f16(pack: *const Pack);
    fn tandem_sme2_pack_i8(pack: *const Pack);
    fn tandem_sme2_depthwise_f32(taps: *const Taps);
    fn tandem_sme2_softmax_f32(rows: *const Rows);
    fn tandem_sme2_unpack_f32(unpack: *const Unpack);
    fn tandem_sme2_copy_f32(copy: *const Copy);
    fn tandem_sme2_copy_f16(copy: *const Copy);
    fn tandem_sme2_copy_i8(copy: *const Copy);
    fn tandem_sme2_splat(dst: *mut u32, count: usize, word: u32);
}

/// The matrix unit of this CPU.
pub struct Sme2;

impl Unit for Sme2 {
    fn lanes() -> usize {
        static LANES: OnceLock<usize> = OnceLock::new();
        // SAFETY: asked only where a row of the unit is planned or run, which needs its instructions.
        *LANES.get_or_init(|| unsafe { tandem_sme2_vector() } as usize / size_of::<f32>())
    }

    unsafe fn pack<E: Packed>(pack: &Pack<E>) {
        let pack = (&raw const *pack).cast();
        // SAFETY: the caller's; the description has the form of any element's.
        unsafe {
            match E::PER_WORD {
                1 => tandem_sme2_pack_f32(pack),
                2 => tandem_sme2_pack_f16(pack),
                _ => tandem_sme2_pack_i8(pack),
            }
        }
    }

    unsafe fn product<E: Element>(product: &Product<E>) {
        let product = (&raw const *product).cast();
        // SAFETY: as above.
        unsafe {
            match E::FORMAT {
                Format::F32 => tandem_sme2_product_f32(product),
                Format::F16 => tandem_sme2_product_f16(product),
                Format::Bf16 => tandem_sme2_product_bf16(product),
            }
        }
    }

    unsafe fn sums<E: Element>(product: &Product<E>) {
        let product = (&raw const *product).cast();
        // SAFETY: as above.
        unsafe {
            match E::FORMAT {
                Format::F32 => tandem_sme2_product_f32(product),
                Format::F16 => tandem_sme2_product_f16_f32(product),
                Format::Bf16 => tandem_sme2_product_bf16_f32(product),
            }
        }
    }

    unsafe fn gemv(thin: &Thin) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_gemv_f32(thin) }
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

    unsafe fn copy<E: Packed>(copy: &Copy<E>) {
        let words = (&raw const *copy).cast();
        // SAFETY: the caller's; the description has the form of any element's.
        unsafe {
            match E::PER_WORD {
                1 => tandem_sme2_copy_f32(words),
                2 => tandem_sme2_copy_f16(words),
                _ if copy.step == 1 => tandem_sme2_copy_i8(words),
                _ => copy.on_core(),
            }
        }
    }

    unsafe fn splat<E: Packed>(dst: *mut E, count: usize, value: E) {
        let bytes = bytemuck::bytes_of(&value);
        let word = u32::from_le_bytes(std::array::from_fn(|i| bytes[i % bytes.len()]));
        // SAFETY: the caller's.
        unsafe { tandem_sme2_splat(dst.cast(), count, word) }
    }
}

/// Addresses of the entries, those that read the same description together, for tests of how they treat their caller.
#[cfg(test)]
macro_rules! addresses {
    ($($name:ident: [$($entry:ident),*]),*) => {
        $(pub(super) fn $name() -> Vec<(&'static str, usize)> {
            vec![$((stringify!($entry), $entry as *const () as usize)),*]
        })*
    };
}
#[cfg(test)]
addresses! {
    products: [
        tandem_sme2_product_f32,
        tandem_sme2_product_f16,
        tandem_sme2_product_f16_f32,
        tandem_sme2_product_bf16,
        tandem_sme2_product_bf16_f32
    ],
    gemvs: [tandem_sme2_gemv_f32],
    softmaxes: [tandem_sme2_softmax_f32],
    packs: [tandem_sme2_pack_f32, tandem_sme2_pack_f16, tandem_sme2_pack_i8],
    unpacks: [tandem_sme2_unpack_f32],
    depthwises: [tandem_sme2_depthwise_f32],
    copies: [tandem_sme2_copy_f32, tandem_sme2_copy_f16, tandem_sme2_copy_i8]
}
