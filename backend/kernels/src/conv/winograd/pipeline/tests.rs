//! Whoever computes a piece, the bits are those of the row of cores.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_base::{Scratch, Task, Team, sme};

use super::super::tests::{CANARY, Case, cases, rows, ways};
use super::*;
use crate::pipeline::testing::{Watched, any_pace, in_any_order, poisoned};
use crate::testing::{Random, sample};

/// The rows of GEMM that multiply a small problem here, of units or of cores.
fn multiply(of_units: bool) -> Vec<&'static Kernel<Gemm>> {
    let matrix = Strided::contiguous(&[1, 40, 40]);
    let epilogue = Epilogue::default();
    let small = gemm::Problem { lhs: matrix, rhs: gemm::Rhs::Panels, dst: matrix, alpha: 1.0, epilogue };
    let all = crate::testing::rows(gemm::KERNELS, &small);
    all.filter(|row| row.isa.in_unit() == of_units && row.isa != Isa::SCALAR).collect()
}

/// Computes a problem by a row of cores and, as `how` says, by units and cores; whether it is for both.
fn check(case: &Case, random: &mut Random, how: impl FnOnce(&dyn Task, &mut Random)) -> bool {
    let data = case.data();
    let (units, cores, rows) = (multiply(true), multiply(false), rows().collect::<Vec<_>>());
    if units.is_empty() || rows.is_empty() || !rows.iter().all(|row| (row.supports)(&data.problem).is_ok()) {
        return false;
    }
    let (unit, cores, row) = (random.pick(&units), random.pick(&cores), random.pick(&rows));
    let bytes = random.pick(&[1, 100_000, GROUP_BYTES]);
    let turned = random.below(2) == 0;
    let made = Pipeline::new(data.problem.clone(), [unit, cores], row, turned, bytes);
    let Ok(all) = made else { return false };
    let mut together = vec![CANARY; data.problem.dst.extent() + 32];
    let mut shared = poisoned(all.workspace().shared);
    let paced = any_pace(random);
    let paced = random.pick(&[None, Some(&paced)]);
    let task = all.bind(data.args(&mut together), SpanMut::from(shared.bytes_mut()), paced).unwrap();
    how(&task, random);
    data.compare(unit.name, &together);
    let alone = data.run(row, usize::MAX);
    let differs = alone.iter().zip(&together).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(
        differs, None,
        "{}, {} and {} in groups of {bytes}: {case:?}",
        unit.name, cores.name, row.name
    );
    true
}

/// The same of 16-bit floats: the bits of a row of cores.
fn check_stored<T: Rows>(case: &Case, random: &mut Random) -> bool {
    let data = case.data();
    let p = &data.problem;
    let cores = |row: &&Kernel<Conv<T>>| super::super::ROWS.contains(&row.name) && (row.supports)(p).is_ok();
    let (units, cores, rows) = (
        multiply(true),
        multiply(false),
        crate::testing::rows(T::rows(), p).filter(cores).collect::<Vec<_>>(),
    );
    if units.is_empty() || rows.is_empty() {
        return false;
    }
    let (unit, cores, row) = (random.pick(&units), random.pick(&cores), random.pick(&rows));
    let bytes = random.pick(&[1, 100_000, GROUP_BYTES]);
    let Ok(all) = Pipeline::<T>::new(p.clone(), [unit, cores], row, random.below(2) == 0, bytes) else {
        return false;
    };
    let (stored, canary) = (data.stored::<T>(), T::from_f32(CANARY));
    let [mut together, mut alone] = [(); 2].map(|()| vec![canary; p.dst.extent() + 32]);
    let mut shared = poisoned(all.workspace().shared);
    let task =
        all.bind(data.args_of(&stored, &mut together), SpanMut::from(shared.bytes_mut()), None).unwrap();
    in_any_order(&task, random);
    crate::testing::run(row, p, data.args_of(&stored, &mut alone), crate::testing::Split::Whole);
    let same = together.iter().zip(&alone).all(|(a, b)| a.to_f32().to_bits() == b.to_f32().to_bits());
    assert!(same, "{} and {} in groups of {bytes}: {case:?}", unit.name, row.name);
    true
}

/// Random cases, the same in every run.
fn random_cases(count: usize) -> Vec<Case> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let all = cases();
    (0..count).map(|_| all.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn pieces_in_any_order_on_any_engine() {
    let all = random_cases(sample(0..200u64).count());
    let mut taken = 0;
    for (case, seed) in all.iter().chain(&ways()).zip(1..) {
        taken += usize::from(check(case, &mut Random::new(seed), in_any_order));
    }
    assert!(multiply(true).is_empty() || taken > all.len() / 2, "{taken} are for both");
}

#[test]
fn halves_in_any_order_on_any_engine() {
    let all = random_cases(sample(0..100u64).count());
    let mut taken = 0;
    for (case, seed) in all.iter().chain(&ways()).zip(1..) {
        let random = &mut Random::new(seed);
        taken += usize::from(check_stored::<crate::f16>(case, random));
        taken += usize::from(check_stored::<crate::bf16>(case, random));
    }
    assert!(multiply(true).is_empty() || taken > all.len(), "{taken} are for both");
}

/// Crews of one to four, one thread of which drives the unit.
#[test]
fn crews_share_convolutions() {
    let (mut scratch, mut driven, mut taken) = (Scratch::default(), 0, 0);
    for (case, seed) in random_cases(sample(0..200u64).count()).iter().zip(100..) {
        let random = &mut Random::new(seed);
        let mut crew = Team::global().enter(1 + random.below(4));
        taken += usize::from(check(case, random, |task, _| {
            let watched = Watched::of(task);
            crew.run(&watched, &mut scratch);
            let drivers = watched.drivers();
            assert!(drivers <= sme::units(), "{drivers} threads in {} units", sme::units());
            driven += drivers;
        }));
    }
    assert!(multiply(true).is_empty() || (driven > 0 && taken > 0), "{driven} drivers of {taken} tasks");
}
