//! What every entry owes its caller: preserved registers, a saved ZA, no streaming mode left behind.

use std::arch::asm;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use tandem_base::{Engine, Engines, Isa, Scratch, Span, SpanMut, Strided, Task, Team, sme};

use super::entries::{copies, depthwises, gemvs, packs, products, softmaxes, unpacks};
use super::int8::{self, Convert, Direct, ProductGroups, ProductI8, Quantise};
use super::{BLOCKS, Copy, Pack, Product, Rows, Run, Segment, Sme2, Taps, Thin, Unit, Unpack};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::gemm::{Args, KERNELS, Problem, Rhs};
use crate::select;

/// Operands of every entry, one group of a k of 3 and a few columns.
struct Operands {
    lanes: usize,
    floats: Vec<f32>,
    out: Vec<f32>,
    run: Run,
    offsets: [usize; 2],
    rows: Vec<*mut f32>,
    clamp: [f32; 2],
}

impl Operands {
    fn new() -> Self {
        let lanes = Sme2::lanes();
        let floats = (0..64 * lanes).map(|i| i as f32).collect();
        let mut out = vec![0f32; 64 * lanes];
        let rows = (0..2 * lanes).map(|i| out[i * 8..].as_mut_ptr()).collect();
        Self {
            lanes,
            floats,
            out,
            run: Run { offset: 0, count: 3 },
            offsets: [0, 1],
            rows,
            clamp: [0.0, 1.0],
        }
    }

    /// Calls `with` with every entry and its description.
    fn each(&mut self, mut with: impl FnMut(&str, usize, usize)) {
        let (src, dst, group) = (self.floats.as_ptr(), self.out.as_mut_ptr(), 2 * self.lanes);
        let rows = self.rows.as_ptr();
        let product = Product {
            lhs: src,
            lhs_step: group,
            lhs_group: 0,
            groups: 1,
            runs: &raw const self.run,
            run_count: 1,
            rhs: src,
            rhs_step: 8,
            panels: 1,
            width: 8,
            rows,
            columns: 5,
            positions: group,
            ..Product::NONE
        };
        let pack = Pack { rows: rows.cast(), first: 0, groups: 1, k: 3, dst, step: group, group: 0 };
        let unpack = Unpack { planes: src, step: group, channels: 3, rows, first: 0, groups: 1 };
        let taps = Taps {
            plane: src,
            step: 0,
            channels: 2,
            weight: src,
            width: 2,
            offsets: self.offsets.as_ptr(),
            count: 2,
            groups: 1,
            dst,
            dst_step: 4 * self.lanes,
            bias: std::ptr::null(),
            clamp: std::ptr::null(),
        };
        let blocks = [src; BLOCKS];
        let thin = Thin {
            lhs: src,
            rows: 1,
            k: 3,
            blocks: blocks.as_ptr(),
            count: 3,
            rhs_step: 8,
            width: 8,
            dst,
            columns: 20,
            ..Thin::NONE
        };
        let constants = [1.0; 8];
        let sums = std::ptr::null_mut();
        let softmax =
            Rows { src, dst, len: 5, rows: 2, src_row: 5, dst_row: 5, constants: &raw const constants, sums };
        let copy = Copy {
            src,
            dst,
            width: 5,
            step: 2,
            rows: 2,
            src_row: 8,
            dst_row: 8,
            planes: 1,
            src_plane: 0,
            dst_plane: 0,
        };
        self.each_of_bytes(&mut with);
        self.each_of_images(&mut with);
        let descriptions = [
            (products(), (&raw const product).addr()),
            (gemvs(), (&raw const thin).addr()),
            (softmaxes(), (&raw const softmax).addr()),
            (packs(), (&raw const pack).addr()),
            (unpacks(), (&raw const unpack).addr()),
            (depthwises(), (&raw const taps).addr()),
            (copies(), (&raw const copy).addr()),
        ];
        for (entries, description) in descriptions {
            entries.into_iter().for_each(|(name, entry)| with(name, entry, description));
        }
    }

    /// The entries of [`super::int8`].
    fn each_of_bytes(&mut self, with: &mut impl FnMut(&str, usize, usize)) {
        let (src, group) = (self.floats.as_ptr(), 2 * self.lanes);
        let mut work = vec![0f32; group * (4 + group)];
        let quantise = Quantise {
            rows: self.rows.as_ptr().cast(),
            groups: 1,
            k: 3,
            dst: self.out.as_mut_ptr().cast(),
            group: 0,
            params: work.as_mut_ptr(),
            bytes: work[4 * group..].as_mut_ptr().cast(),
            step: 2 * group,
            fixed: 0,
        };
        let product = ProductI8 {
            lhs: src.cast(),
            lhs_group: 0,
            groups: 1,
            words: 4,
            rhs: src.cast(),
            rhs_panel: 0,
            panels: 1,
            width: 8,
            nibbles: 1,
            rows: self.rows.as_ptr(),
            first: 0,
            columns: 5,
            params: src,
            sums: src.cast(),
            scale: src,
            bias: std::ptr::null(),
            clamp: &raw const self.clamp,
            dst_scale: std::ptr::null(),
        };
        let groups = ProductGroups { product, scale_step: 0, scale_words: 4, sums: src };
        let [quantise_entry, product_entry, groups_entry, ..] = int8::entries();
        with("quantise", quantise_entry, (&raw const quantise).addr());
        with("product of bytes", product_entry, (&raw const product).addr());
        with("product of groups", groups_entry, (&raw const groups).addr());
    }

    /// The others of [`super::int8`].
    fn each_of_images(&mut self, with: &mut impl FnMut(&str, usize, usize)) {
        let (src, group) = (self.floats.as_ptr(), 2 * self.lanes);
        let segments = [Segment { first: 0, end: 5, offset: 0 }, Segment::default()];
        let mut planes = vec![std::ptr::null_mut::<i8>(); group.next_multiple_of(8)];
        planes[..2].fill(self.out.as_mut_ptr().cast());
        let direct = Direct {
            slab: src.cast(),
            step: group,
            blocks: 1,
            runs: &raw const self.run,
            run_count: 1,
            weight: src.cast(),
            width: 8,
            first: 0,
            columns: 2,
            sums: src.cast(),
            factor: src,
            shift: src,
            rows: planes.as_ptr(),
            segments: segments.as_ptr(),
            lower: -128,
            upper: 127,
            zero: 0,
            src_zero: 1,
        };
        let pixels = Direct { rows: self.rows.as_ptr().cast(), segments: std::ptr::null(), ..direct };
        let to_i8 = Convert {
            src,
            dst: self.out.as_mut_ptr().cast::<i8>(),
            len: 8 * group + 3,
            rows: 2,
            src_row: 5,
            dst_row: 9 * group,
            factor: 0.5,
            zero: -3,
        };
        let from_i8 = Convert {
            src: src.cast::<i8>(),
            dst: self.out.as_mut_ptr(),
            len: 8 * group + 3,
            rows: 2,
            src_row: 5,
            dst_row: 9 * group,
            factor: 0.5,
            zero: -3,
        };
        let [.., direct_entry, to_i8_entry, from_i8_entry] = int8::entries();
        with("direct convolution to planes", direct_entry, (&raw const direct).addr());
        with("direct convolution to pixels", direct_entry, (&raw const pixels).addr());
        with("conversion to i8", to_i8_entry, (&raw const to_i8).addr());
        with("conversion from i8", from_i8_entry, (&raw const from_i8).addr());
    }
}

fn has_sme2() -> bool {
    Isa::detect().has(Isa::SME2)
}

/// PSTATE.SM and PSTATE.ZA.
fn svcr() -> u64 {
    let svcr: u64;
    // SAFETY: reads a register that exists with SME.
    unsafe { asm!("mrs {}, S3_3_C4_C2_2", out(reg) svcr, options(nomem, nostack)) }
    svcr
}

#[test]
fn entries_keep_preserved_registers_and_leave_streaming_mode() {
    if !has_sme2() {
        return;
    }
    Operands::new().each(|name, entry, description| {
        let want: [f64; 8] = std::array::from_fn(|i| i as f64 + 0.5);
        let [mut d8, mut d9, mut d10, mut d11, mut d12, mut d13, mut d14, mut d15] = want;
        // SAFETY: an entry with its description; what it may clobber by the procedure call standard is named.
        unsafe {
            asm!("blr {entry}", entry = in(reg) entry, inout("x0") description => _,
                inout("d8") d8, inout("d9") d9, inout("d10") d10, inout("d11") d11,
                inout("d12") d12, inout("d13") d13, inout("d14") d14, inout("d15") d15,
                clobber_abi("C"));
        }
        assert_eq!([d8, d9, d10, d11, d12, d13, d14, d15], want, "{name}: d8-d15");
        assert_eq!(svcr(), 0, "{name}: streaming mode or ZA is left on");
    });
}

/// What TPIDR2_EL0 points to while a caller's ZA waits to be saved (AAPCS64).
#[repr(C)]
struct LazySave {
    buffer: *mut u8,
    slices: u16,
    reserved: [u8; 6],
}

#[test]
fn entries_save_a_callers_za_first() {
    if !has_sme2() {
        return;
    }
    let vector = 4 * Sme2::lanes();
    let pattern: Vec<u8> = (0..vector * vector).map(|i| (i * 7 + i / vector) as u8).collect();
    Operands::new().each(|name, entry, description| {
        let mut saved = vec![0u8; vector * vector];
        let block = LazySave { buffer: saved.as_mut_ptr(), slices: vector as u16, reserved: [0; 6] };
        let left: u64;
        // SAFETY: ZA is loaded with the pattern and left to be saved as the standard says, then the entry is called.
        unsafe {
            asm!(
                ".arch_extension sme2",
                "smstart za",
                "mov w12, #0",
                "2: ldr za[w12, 0], [x9]",
                "add x9, x9, x11",
                "add w12, w12, #1",
                "cmp w12, w11",
                "b.lo 2b",
                "msr TPIDR2_EL0, x13",
                "blr x14",
                "mrs x0, TPIDR2_EL0",
                inout("x9") pattern.as_ptr() => _,
                in("x11") vector,
                in("x13") &raw const block,
                in("x14") entry,
                inout("x0") description => left,
                out("x12") _,
                clobber_abi("C")
            );
        }
        assert_eq!(left, 0, "{name}: TPIDR2_EL0");
        assert!(saved == pattern, "{name}: the caller's ZA");
        assert_eq!(svcr(), 0, "{name}: streaming mode or ZA is left on");
        let _ = block.reserved;
    });
}

/// A task that looks at the mode of every thread that runs its tiles, and how many there are.
struct Watched<'a> {
    task: &'a dyn Task,
    running: AtomicUsize,
    most: AtomicUsize,
}

// SAFETY: the inner task's tiles.
unsafe impl Task for Watched<'_> {
    fn phases(&self) -> usize {
        self.task.phases()
    }
    fn tiles(&self, phase: usize) -> usize {
        self.task.tiles(phase)
    }
    fn scratch(&self) -> usize {
        self.task.scratch()
    }
    fn engines(&self, phase: usize) -> Engines {
        self.task.engines(phase)
    }
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        self.most.fetch_max(1 + self.running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        assert_eq!(svcr(), 0, "before a tile");
        // SAFETY: the caller's.
        unsafe { self.task.run(engine, phase, tiles, scratch) }
        assert_eq!(svcr(), 0, "behind a tile");
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Steps of the unit and of cores in turns, on more threads than there are units.
#[test]
fn no_worker_stays_in_streaming_mode_and_few_enter_it() {
    if !has_sme2() {
        return;
    }
    let [m, n, k] = [9000, 32, 32];
    let problem = Problem {
        lhs: Strided::contiguous(&[1, m, k]),
        rhs: Rhs::Panels,
        dst: Strided::contiguous(&[1, m, n]),
        alpha: 1.0,
        epilogue: Epilogue::default(),
    };
    let (lhs, rhs, mut dst) = (vec![1f32; m * k], vec![1f32; k * n], vec![0f32; m * n]);
    let mut scratch = Scratch::default();
    let mut crew = Team::global().enter(4);
    for isa in [Isa::SME2, Isa::NEON].into_iter().cycle().take(20) {
        let row = select(KERNELS, &problem, isa, &crate::Rates::default()).unwrap().kernel;
        assert_eq!(row.isa, isa, "{}", row.name);
        let args = Args {
            lhs: Span::from(&lhs[..]),
            rhs: Span::from(&rhs[..]),
            epilogue: EpilogueArgs::none(),
            dst: SpanMut::from(&mut dst[..]),
        };
        let task = row.bind(&problem, args, SpanMut::empty()).unwrap();
        assert!(task.tiles(0) > 1, "{}: one tile is one thread's", row.name);
        let watched = Watched { task: &task, running: AtomicUsize::new(0), most: AtomicUsize::new(0) };
        crew.run(&watched, &mut scratch);
        let most = watched.most.into_inner();
        assert!(isa == Isa::NEON || most <= sme::units(), "{most} threads in {} units", sme::units());
    }
    assert!(dst.iter().all(|&x| x == k as f32));
}
