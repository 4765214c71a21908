//! No allocation once warm, little time to plan.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::models;
use tandem_engine::{Input, LoadOptions, Method, Output};

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
fn executing_does_not_allocate_and_planning_is_quick() {
    for model in [models::squeezesam(16, 2, 16), models::blocks(16, 16), models::vit(16, 16, 4)] {
        let options = LoadOptions::default();
        let mut method = model.load(&options).unwrap();
        let data = model.inputs(&method, 1);
        let specs = (method.inputs().to_vec(), method.outputs().to_vec());
        let mut results: Vec<Vec<f32>> =
            specs.1.iter().map(|s| vec![0.0; s.sizes.iter().product()]).collect();
        let inputs: Vec<Input<'_>> = specs
            .0
            .iter()
            .zip(&data)
            .map(|(s, data)| Input {
                dtype: s.dtype,
                sizes: &s.sizes,
                dim_order: &s.dim_order,
                bytes: bytemuck::cast_slice(data),
            })
            .collect();
        let mut outputs: Vec<Output<'_>> = specs
            .1
            .iter()
            .zip(&mut results)
            .map(|(s, data)| Output {
                dtype: s.dtype,
                sizes: &s.sizes,
                dim_order: &s.dim_order,
                bytes: bytemuck::cast_slice_mut(data),
            })
            .collect();
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

        let blob = tandem_schemas::write_program(&model.program);
        let fastest = (0..20)
            .map(|_| Method::load(&blob, model.constants(0), &options).unwrap().report().plan_ns)
            .min()
            .unwrap();
        let steps = method.report().steps.len();
        println!("{steps} steps planned in {} µs", fastest / 1000);
        assert!(fastest < 5_000_000, "{fastest} ns to plan {steps} steps");
    }
}
