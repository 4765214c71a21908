//! Programs of symbolic sizes: the same answers as programs of these sizes, plans kept and given up, sizes refused.

mod common;

use common::dynamic::{Make, dynamic, dynamic_rows, image, rows};
use common::{Builder, Model, given, run, taken};
use proptest::prelude::*;
use tandem_engine::{Error, Input, LoadOptions, Method};
use tandem_schemas::program::*;

/// Sizes and elements.
type Sized = (Vec<usize>, Vec<f32>);

/// Runs a method on tensors of the sizes its program has in `like`; the outputs' sizes and elements.
fn run_like(method: &mut Method, like: &Method, data: &[Vec<f32>]) -> Result<Vec<Sized>, Error> {
    let given = given(like.inputs(), data);
    let outputs = method.prepare(&given)?.to_vec();
    let mut results: Vec<Vec<f32>> =
        outputs.iter().map(|s| vec![f32::NAN; s.sizes.iter().product()]).collect();
    method.execute(&given, &mut taken(&outputs, &mut results), 2, None)?;
    Ok(outputs.iter().map(|s| s.sizes.clone()).zip(results).collect())
}

/// Compares with the program made for these sizes.
fn compare(method: &mut Method, make: Make, sizes: &[usize]) {
    let fixed_model = make(sizes);
    let mut fixed = fixed_model.load(&LoadOptions::default()).unwrap();
    let data = fixed_model.inputs(&fixed, 3);
    let want = run(&mut fixed, &data, 1).unwrap();
    let got = run_like(method, &fixed, &data).unwrap();
    for ((sizes_got, got), (spec, want)) in got.iter().zip(fixed.outputs().iter().zip(&want)) {
        assert_eq!(*sizes_got, spec.sizes, "{sizes:?}");
        let range = want.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
        let far = got.iter().zip(want).find(|(g, w)| (*g - *w).abs() > 2e-5 * range || g.is_nan());
        assert!(far.is_none(), "{sizes:?}: {far:?} of {range}");
    }
}

fn load(model: &Model) -> Method {
    model.load(&LoadOptions::default()).unwrap()
}

#[test]
fn answers_are_those_of_programs_of_fixed_sizes() {
    let mut method = load(&dynamic(image, &[(1, 48), (1, 64)]));
    assert!(method.is_dynamic());
    assert_eq!(method.inputs()[0].sizes, [2, 3, 48, 64]);
    for sizes in [[48, 64], [1, 1], [17, 9], [2, 64], [48, 1], [31, 32], [17, 9], [33, 33], [48, 64]] {
        compare(&mut method, image, &sizes);
    }
    let mut method = load(&dynamic_rows(100));
    for n in [1, 100, 2, 3, 64, 65, 100, 1] {
        compare(&mut method, rows, &[n]);
    }
}

#[test]
fn more_sizes_than_plans_are_kept() {
    let mut method = load(&dynamic_rows(64));
    let mut numbers = vec![];
    for n in (1..=20).chain(1..=20) {
        compare(&mut method, rows, &[n]);
        numbers.push(method.plan_number());
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 40, "each of 20 sizes is given up before it comes again");
    for n in [3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8] {
        compare(&mut method, rows, &[n]);
        numbers.push(method.plan_number());
    }
    let last = numbers.len() - 6;
    assert_eq!(numbers[last - 6..last], numbers[last..], "six sizes are kept");
}

#[test]
fn wrong_sizes_are_named() {
    let mut method = load(&dynamic(image, &[(4, 48), (4, 64)]));
    let refused = |method: &mut Method, sizes: &[usize]| {
        let data = vec![0f32; sizes.iter().product()];
        let order: Vec<u8> = (0..sizes.len() as u8).collect();
        let bytes = bytemuck::cast_slice(&data);
        let input = Input { dtype: DType::F32, sizes, dim_order: &order, bytes };
        let prepared = method.prepare(&[input]).unwrap_err().to_string();
        assert_eq!(method.execute(&[input], &mut [], 1, None).unwrap_err().to_string(), prepared);
        prepared
    };
    let high = refused(&mut method, &[2, 3, 49, 64]);
    assert!(high.contains("s0 is 49, not within 4..=48"), "{high}");
    let low = refused(&mut method, &[2, 3, 48, 3]);
    assert!(low.contains("s1 is 3, not within 4..=64"), "{low}");
    let fixed = refused(&mut method, &[2, 4, 48, 64]);
    assert!(fixed.contains("dimension 1 of input v0 is 4, not 3"), "{fixed}");
    let rank = refused(&mut method, &[2, 3, 48]);
    assert!(rank.contains("3 dimensions, not 4"), "{rank}");
    compare(&mut method, image, &[20, 40]);
}

#[test]
fn inputs_that_disagree_are_named() {
    fn sum(sizes: &[usize]) -> Model {
        let mut b = Builder::default();
        let (x, y) = (b.input(&[sizes[0], 8]), b.input(&[sizes[0], 8]));
        let z = b.binary(BinaryKind::Add, x, y);
        b.output(z);
        b.finish()
    }
    let mut method = load(&dynamic(sum, &[(1, 32)]));
    let bytes = [0u8; 4 * 8 * 8];
    let sizes = [[8, 8], [7, 8]];
    let inputs =
        sizes.each_ref().map(|sizes| Input { dtype: DType::F32, sizes, dim_order: &[0, 1], bytes: &bytes });
    let error = method.prepare(&inputs).unwrap_err().to_string();
    assert!(error.contains("dimension 0 of input v1 is 7, not 8"), "{error}");
    compare(&mut method, sum, &[8]);
}

#[test]
fn bounds_beyond_what_can_be_planned_are_no_reason_to_refuse() {
    let mut method = load(&dynamic_rows(1 << 40));
    assert!(method.inputs()[0].sizes[0] < 1 << 30);
    compare(&mut method, rows, &[9]);
}

#[test]
fn damaged_symbols_are_refused() {
    let sound = dynamic(image, &[(4, 48), (4, 64)]);
    let damaged = |damage: &dyn Fn(&mut ProgramT)| {
        let mut model = sound.clone();
        damage(&mut model.program);
        model.load(&LoadOptions::default()).err().map(|error| error.to_string())
    };
    assert_eq!(damaged(&|_| ()), None);
    let exprs: &[&dyn Fn(&mut ProgramT)] = &[
        &|p| p.symbols = None,
        &|p| p.exprs = None,
        &|p| p.symbols.as_mut().unwrap()[0].max = 3,
        &|p| p.symbols.as_mut().unwrap()[0].min = -1,
        &|p| p.exprs.as_mut().unwrap()[0].a = 2,
        &|p| p.exprs.as_mut().unwrap()[2].b = 2,
        &|p| p.exprs.as_mut().unwrap()[2].op = ExprOp(99),
        &|p| p.values[0].shape.as_mut().unwrap()[2].expr = 10_000,
        &|p| p.values[0].shape.as_mut().unwrap()[2].expr = -1,
        &|p| p.values[2].shape.as_mut().unwrap()[2].expr = 0,
    ];
    for (i, damage) in exprs.iter().enumerate() {
        let loaded = damaged(damage);
        // What is sound on its own shows where the sizes of ops are compared.
        assert!(loaded.is_some(), "damage {i} is not seen");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_order_of_sizes(sizes in prop::collection::vec((1usize..40, 1usize..40), 1..12)) {
        let mut method = load(&dynamic(image, &[(1, 40), (1, 40)]));
        for (h, w) in sizes {
            compare(&mut method, image, &[h, w]);
        }
    }
}
