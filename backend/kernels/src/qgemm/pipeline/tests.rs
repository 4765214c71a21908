//! Whoever computes a piece, the bits are those of any row.

use tandem_base::{Scratch, Task, Team, sme};

use super::super::tests::{COLUMNS, Case, DEPTHS};
use super::super::{Weights, scalar};
use super::*;
use crate::pipeline::testing::{Watched, any_pace, in_any_order, poisoned};
use crate::testing::{CANARY, Random, Split, run, sample};

/// Every kind of weights; more rows than a group has, and as many as make whole tiles.
fn case(r: &mut Random) -> Case {
    let (m, n) = (r.pick(&[1, 7, 63, 64, 65, 130, 256, 300]), r.pick(&COLUMNS[1..]));
    let size = r.pick(&[32, 64]);
    match r.below(3) {
        0 => Case::new(r, [m, n, 2 * size], Weights::I4Groups { size }),
        1 => {
            let k = r.pick(&DEPTHS);
            Case::new(r, [m, n, k], Weights::I4)
        }
        _ => {
            let k = r.pick(&DEPTHS);
            Case::new(r, [m, n, k], Weights::I8)
        }
    }
}

/// Computes a problem by the definition's row and, as `how` says, by units and cores; whether there is a unit.
fn check(case: &Case, random: &mut Random, how: impl FnOnce(&dyn Task, &mut Random)) -> bool {
    let p = &case.problem;
    let units: Vec<&Slabs> = UNITS.iter().filter(|unit| crate::kernel::available().has(unit.isa)).collect();
    let cores: Vec<_> = crate::testing::rows(KERNELS, p).filter(|row| !row.isa.in_unit()).collect();
    if units.is_empty() {
        return false;
    }
    let (unit, core) = (*units[random.below(units.len())], cores[random.below(cores.len())]);
    let bytes = random.pick(&[1, 20_000, GROUP_BYTES]);
    let all = Pipeline::new(p.clone(), unit, core, bytes).expect("for both");
    let [mut together, mut alone] = [(); 2].map(|()| vec![CANARY; p.dst.extent() + 8]);
    let mut shared = poisoned(all.workspace().shared);
    let paced = any_pace(random);
    let paced = random.pick(&[None, Some(&paced)]);
    let task = all.bind(case.args(&mut together), SpanMut::from(shared.bytes_mut()), paced).unwrap();
    how(&task, random);
    run(&scalar::ROW, p, case.args(&mut alone), Split::Whole);
    let differs = alone.iter().zip(&together).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(differs, None, "{} and {} in groups of {bytes}: {p:?}", unit.name, core.name);
    true
}

#[test]
fn pieces_in_any_order_on_any_engine() {
    let mut taken = 0;
    for seed in sample(0..150) {
        let random = &mut Random::new(seed);
        taken += usize::from(check(&case(random), random, in_any_order));
    }
    assert!(UNITS.iter().all(|unit| !crate::kernel::available().has(unit.isa)) || taken > 0);
}

/// Crews of one to four, one thread of which drives the unit.
#[test]
fn crews_share_quantised_products() {
    let (mut scratch, mut driven, mut taken) = (Scratch::default(), 0, 0);
    for seed in sample(0..60) {
        let random = &mut Random::new(seed + 1000);
        let mut crew = Team::global().enter(1 + random.below(4));
        taken += usize::from(check(&case(random), random, |task, _| {
            let watched = Watched::of(task);
            crew.run(&watched, &mut scratch);
            let drivers = watched.drivers();
            assert!(drivers <= sme::units(), "{drivers} threads in {} units", sme::units());
            driven += drivers;
        }));
    }
    assert!(taken == 0 || driven > 0, "{driven} drivers of {taken} tasks");
}
