//! Whoever computes a piece, the bits are those of the row of cores.

use tandem_base::{Scratch, Span, Task, Team, sme};

use super::super::KERNELS;
use super::super::tests::{Data, at, definition, problem};
use super::*;
use crate::pipeline::testing::{Watched, any_pace, in_any_order, poisoned};
use crate::testing::{CANARY, Random, Split, sample};

/// A row of units, if any are tested here, and a row of cores that takes the problem.
fn pair(p: &Problem, random: &mut Random) -> Option<(&'static Kernel<Gemm>, &'static Kernel<Attention>)> {
    let small = product([40, 40, 40], [40, 40], None, false);
    let units: Vec<_> = crate::testing::rows(gemm::KERNELS, &small).filter(|row| row.isa.in_unit()).collect();
    let blocks: Vec<_> = super::super::blocks().map(|row| row.name).collect();
    let cores: Vec<_> = crate::testing::rows(KERNELS, p).filter(|row| blocks.contains(&row.name)).collect();
    (!units.is_empty() && !cores.is_empty()).then(|| (random.pick(&units), random.pick(&cores)))
}

fn args<'a>(data: &'a Data, dst: &'a mut [f32]) -> Args<'a> {
    let [q, k, v, mask] = [&data.q, &data.k, &data.v, &data.mask].map(|x| Span::from(&x[..]));
    Args { q, k, v, mask, dst: SpanMut::from(dst) }
}

/// Computes a problem by the row of cores and, as `how` says, by units and cores; whether it is for both.
fn check(p: &Problem, random: &mut Random, how: impl FnOnce(&dyn Task, &mut Random)) -> bool {
    let Some((unit, core)) = pair(p, random) else { return false };
    let scores = random.pick(&[1, 1000, 8000, SCORES]);
    let Ok(all) = Pipeline::of_groups(p.clone(), unit, core, scores) else { return false };
    let data = Data::new(p, random);
    let [mut alone, mut together] = [(); 2].map(|()| vec![CANARY; p.dst.extent()]);
    crate::testing::run(core, p, args(&data, &mut alone), Split::Whole);
    let mut shared = poisoned(all.workspace().shared);
    let paced = any_pace(random);
    let paced = random.pick(&[None, Some(&paced)]);
    how(&all.bind(args(&data, &mut together), SpanMut::from(shared.bytes_mut()), paced).unwrap(), random);
    let differs = alone.iter().zip(&together).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(differs, None, "{} with {} in groups of {scores}: {p:?}", unit.name, core.name);
    let [batch, heads, t, dv] = [0, 1, 2, 3].map(|i| p.dst.size(i));
    let [b, h, i] = [batch, heads, t].map(|size| random.below(size));
    let want = definition(p, &data, [b, h, i]);
    for (c, want) in (0..dv).zip(want) {
        let got = f64::from(together[at(&p.dst, [b, h, i, c])]);
        assert!((got - want).abs() <= 1e-5, "{}: {got} for {want} of {p:?}", unit.name);
    }
    true
}

/// Whether rows of units are tested here.
fn has_units() -> bool {
    let small = product([40, 40, 40], [40, 40], None, false);
    crate::testing::rows(gemm::KERNELS, &small).any(|row| row.isa.in_unit())
}

#[test]
fn random_problems() {
    let (cases, mut taken) = (|| sample(0..400u64), 0);
    for seed in cases() {
        let random = &mut Random::new(seed + 7);
        let p = problem(random, &[0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 65, 100]);
        taken += usize::from(check(&p, random, in_any_order));
    }
    assert!(!has_units() || taken > cases().count() / 2, "{taken} are for both");
}

#[test]
fn several_blocks_of_keys() {
    let mut taken = 0;
    for seed in sample(0..24u64) {
        let random = &mut Random::new(seed + 3);
        let (keys, t) = (random.pick(&[1023, 1024, 1025, 2049, 2100]), random.pick(&[1, 17, 33, 70]));
        let mut p = problem(random, &[keys]);
        let (heads, kv_heads) = (random.pick(&[1, 2, 4]), random.pick(&[1, 1, 2]).min(p.k.size(1)));
        let heads = heads.max(kv_heads);
        let side_by_side = |h, t, d| Strided::with_order(&[1, h, t, d], &[0, 2, 1, 3]);
        (p.q, p.dst) = (side_by_side(heads, t, 8), side_by_side(heads, t, 24));
        (p.k, p.v) = (side_by_side(kv_heads, keys, 8), side_by_side(kv_heads, keys, 24));
        p.mask = random
            .pick(&[true, false])
            .then(|| Strided::contiguous(&[keys]).broadcast_to(&[1, heads, t, keys]).expect("leading sizes"));
        taken += usize::from(check(&p, random, in_any_order));
    }
    assert!(!has_units() || taken > 0);
}

/// Crews of one to four, one thread of which drives the unit.
#[test]
fn crews_share_attention() {
    let (mut scratch, mut driven, mut taken) = (Scratch::default(), 0, 0);
    for seed in sample(0..200u64) {
        let random = &mut Random::new(seed + 11);
        let mut crew = Team::global().enter(1 + random.below(4));
        let p = problem(random, &[1, 16, 31, 33, 64, 100]);
        taken += usize::from(check(&p, random, |task, _| {
            let watched = Watched::of(task);
            crew.run(&watched, &mut scratch);
            let drivers = watched.drivers();
            assert!(drivers <= sme::units(), "{drivers} threads in {} units", sme::units());
            driven += drivers;
        }));
    }
    assert!(!has_units() || (driven > 0 && taken > 0), "{driven} drivers of {taken} tasks");
}
