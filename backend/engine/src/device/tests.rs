use std::time::Duration;

use super::*;

#[test]
fn rates_are_those_of_the_instruction_sets() {
    let device = shipped().find(|device| device.name == "x86-server").unwrap();
    let of = |isa| device.rates(isa, None).fma_gflops;
    assert!(of(Isa::AVX512 | Isa::AVX2) > of(Isa::AVX2) && of(Isa::AVX2) > of(Isa::SCALAR));
    // Without the least of its tiers, the last one stands.
    assert_eq!(of(Isa::NEON), of(Isa::SCALAR));
    let m4 = shipped().find(|device| device.name == "apple-m4").unwrap();
    assert_eq!(m4.rates(Isa::NEON | Isa::SME2, None).unit.f32_gflops, 1995.0);
}

#[test]
fn a_team_is_the_fastest_cores() {
    let m4 = shipped().find(|device| device.name == "apple-m4").unwrap();
    let team = |threads| m4.rates(Isa::NEON | Isa::SME2, threads).team;
    assert_eq!((team(Some(3)).threads, team(Some(3)).cores), (3, 3.0));
    let all = team(None);
    assert_eq!((all.threads, all.units), (10, 1));
    assert!(all.cores > 4.0 && all.cores < 10.0, "{} cores", all.cores);
}

#[test]
fn wrong_profiles_are_told() {
    let text = shipped().next().unwrap().text();
    let wrong = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Device::parse(&text.replacen(from, to, 1)).unwrap_err()
    };
    assert!(wrong("count = 4", "count = 0").contains("cores without a number"));
    assert!(wrong("\"neon\"", "\"mmx\"").contains("mmx"));
    assert!(wrong("\"derived\"", "\"guessed\"").contains("guessed"));
    assert!(wrong("units = 1", "units = 1\nunit = 2").contains("unit"));
    assert!(Device::parse("").is_err());
}

#[test]
fn a_machine_measures_itself() {
    // Shares only: a machine's figures are its own.
    let mut shares = Vec::new();
    let effort = Effort { rounds: 2, time: Duration::from_millis(1), memory: 1 << 20, edge: 40 };
    let device = characterize(2, effort, &mut |what, share| shares.push((what.to_owned(), share)));
    assert!(shares.windows(2).all(|pair| pair[0].1 <= pair[1].1) && shares.last().unwrap().1 == 1.0);
    assert_eq!(Device::parse(&device.text()).unwrap(), device);
    let first = &device.cores[0].rates[0];
    assert_eq!(first.fma_gflops.confidence, Confidence::Measured);
    assert!(first.fma_gflops.spread.is_some_and(|spread| (0.0..1.0).contains(&spread)));
}
