//! No allocation once warm.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::dynamic::dynamic_rows;
use common::{given, models, taken};
use tandem_engine::{DType, Input, LoadOptions, Output};

struct Counting;

thread_local! {
    /// Of this thread: workers that the system first schedules late set themselves up then. What a worker runs, the
    /// caller runs too.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// One test, as other tests' allocations would be counted too.
#[test]
fn executing_does_not_allocate() {
    dynamic_sizes();
    for model in [models::squeezesam(16, 2, 16), models::blocks(16, 16), models::vit(16, 16, 4)] {
        let options = LoadOptions::default();
        let mut method = model.load(&options).unwrap();
        let data = model.inputs(&method, 1);
        let specs = (method.inputs().to_vec(), method.outputs().to_vec());
        let mut results: Vec<Vec<f32>> =
            specs.1.iter().map(|s| vec![0.0; s.sizes.iter().product()]).collect();
        let (inputs, mut outputs) = (given(&specs.0, &data), taken(&specs.1, &mut results));
        // A crew's board may still be held by a worker of the crew before: a few boards make warm.
        for _ in 0..100 {
            method.execute(&inputs, &mut outputs, 3, None).unwrap();
        }
        let before = ALLOCATIONS.get();
        for round in 0..50 {
            method.execute(&inputs, &mut outputs, 1 + round % 3, None).unwrap();
        }
        let during = ALLOCATIONS.get() - before;
        assert_eq!(during, 0, "allocations in 50 executes");
    }
}

/// At sizes that were seen, a program of symbolic sizes allocates no more than any other.
fn dynamic_sizes() {
    let mut method = dynamic_rows(64).load(&LoadOptions::default()).unwrap();
    let (data, mut all, mut last) = (vec![0.5f32; 64 * 24], vec![0f32; 64 * 40], vec![0f32; 40]);
    let mut run = |n: usize| {
        let bytes = bytemuck::cast_slice(&data[..n * 24]);
        let input = Input { dtype: DType::F32, sizes: &[n, 24], dim_order: &[0, 1], bytes };
        let output = |sizes, bytes| Output { dtype: DType::F32, sizes, dim_order: &[0, 1], bytes };
        let sizes = [n, 40];
        let mut outputs = [
            output(&sizes, bytemuck::cast_slice_mut(&mut all[..n * 40])),
            output(&[1, 40], bytemuck::cast_slice_mut(&mut last)),
        ];
        method.execute(&[input], &mut outputs, 2, None).unwrap();
    };
    for _ in 0..100 {
        [64, 1, 33, 7].into_iter().for_each(&mut run);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..20 {
        [1, 64, 7, 33].into_iter().for_each(&mut run);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 80 executes of four sizes");
}
