//! How many tiles a thread claims at a time: a rule of its own, which simulations follow as well.

use crate::cores::KINDS;
use crate::task::{Engine, Pace};

/// What a tile takes: as planned and as kinds of cores are said to differ, then as seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paces {
    /// Of a unit, and of a core of the fastest kind by what any core was last seen to take.
    pub pace: Pace,
    /// How fast each kind of cores is said to be, the fastest being 1.
    pub speeds: [f64; KINDS],
    /// What a tile last took a core of each kind, in ns; 0 where none is done.
    pub seen: [f64; KINDS],
}

impl Paces {
    /// Before anything is seen.
    pub fn new(pace: Pace, speeds: [f64; KINDS]) -> Self {
        Self { pace, speeds, seen: [0.0; KINDS] }
    }

    /// Of an engine, and where that is a core of its kind, in ns.
    pub fn of(&self, engine: Engine, kind: usize) -> f64 {
        match engine {
            Engine::Unit => self.pace.unit,
            Engine::Core if self.seen[kind] > 0.0 => self.seen[kind],
            Engine::Core => self.pace.core / self.speeds[kind],
        }
    }

    /// Takes note of what a tile took, in ns.
    pub fn see(&mut self, engine: Engine, kind: usize, ns: f64) {
        if engine == Engine::Unit {
            self.pace.unit = ns;
        } else {
            self.seen[kind] = ns;
            self.pace.core = ns * self.speeds[kind];
        }
    }
}

/// Threads that share a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Those that drive units.
    pub units: usize,
    /// Those that are cores only, of each kind.
    pub cores: [usize; KINDS],
    /// What a tile takes each.
    pub paces: Paces,
}

/// One thread of a phase.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Whether it drives a unit.
    pub drives: bool,
    /// The kind of its core.
    pub kind: usize,
    /// Whether it is the one that all others help.
    pub calls: bool,
}

/// Tiles of a phase that nobody has claimed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rest {
    /// For either engine.
    pub either: usize,
    /// For cores only.
    pub cores: usize,
}

/// What a thread takes of a rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// As what it computes them.
    pub engine: Engine,
    /// Whether they are of the tiles for either.
    pub of_either: bool,
    /// How many.
    pub take: usize,
}

/// Claims of a phase's rest a thread makes in turn: more, and threads that were predicted wrongly finish together; fewer,
/// and they meet at the board less often.
const TURNS: usize = 4;

/// Tiles of the `left` ones that one of so many threads of the same pace claims: what [`Share::claim`] says of these.
pub fn alike(threads: usize, left: usize) -> usize {
    if threads == 1 { left } else { left.div_ceil(threads * TURNS) }
}

impl Share {
    /// Of cores of one kind.
    pub fn alike(units: usize, cores: usize, pace: Pace) -> Self {
        let mut of_kind = [0; KINDS];
        of_kind[0] = cores;
        Self { units, cores: of_kind, paces: Paces::new(pace, [1.0; KINDS]) }
    }

    /// Threads of the same pace, and what a tile takes them.
    fn groups(&self) -> impl Iterator<Item = (f64, f64)> {
        let cores = (0..KINDS).map(|kind| (self.cores[kind] as f64, self.paces.of(Engine::Core, kind)));
        cores.chain([(self.units as f64, self.paces.pace.unit)]).filter(|(threads, _)| *threads > 0.0)
    }

    /// Tiles of all threads in a ns.
    fn rate(&self) -> f64 {
        self.groups().map(|(threads, ns)| threads / ns).sum()
    }

    /// Tiles of the `left` ones that a thread claims, at least 1 of any, or none: where quicker ones alone have computed all
    /// of them before it has computed one.
    pub fn claim(&self, engine: Engine, kind: usize, left: usize) -> usize {
        if self.units + self.cores.iter().sum::<usize>() == 1 {
            return left;
        }
        let own = self.paces.of(engine, kind);
        // Whole tiles that quicker threads are through with before.
        let quicker = self.groups().filter(|(_, ns)| *ns < own);
        let before: f64 = quicker.map(|(threads, ns)| threads * ((own / ns).ceil() - 1.0)).sum();
        if left == 0 || before >= left as f64 {
            return 0;
        }
        let part = left as f64 / (self.rate() * own * TURNS as f64);
        // A tile more than its part is a long one on a slower kind of core.
        let part = if kind > 0 { part.floor() } else { part.ceil() };
        (part as usize).clamp(1, left)
    }

    /// What a thread claims of a phase's rest. Who drives a unit claims as a core where none of the rest is the unit's, or had
    /// better be left to cores; a core takes what is for cores only before it helps with the other tiles.
    pub fn choose(&self, thread: Thread, rest: Rest) -> Claim {
        if thread.drives {
            let take = self.claim(Engine::Unit, thread.kind, rest.either);
            if take > 0 {
                return Claim { engine: Engine::Unit, of_either: true, take };
            }
        }
        let of_either = rest.cores == 0;
        let (share, left) = if of_either { (*self, rest.either) } else { (self.on_cores(), rest.cores) };
        // The caller leaves nothing to others, for whom nobody waits.
        let least = if thread.calls { left.min(1) } else { 0 };
        let take = share.claim(Engine::Core, thread.kind, left).max(least);
        Claim { engine: Engine::Core, of_either, take }
    }

    /// The same threads without units, whose drivers are on the fastest cores.
    fn on_cores(&self) -> Self {
        let mut cores = self.cores;
        cores[0] += self.units;
        Self { units: 0, cores, ..*self }
    }

    /// Time for all of `tiles`, if every thread were busy to the end, in ns.
    pub fn ideal_ns(&self, tiles: usize) -> f64 {
        tiles as f64 / self.rate()
    }
}

/// How a phase that engines share goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Played {
    /// When the last tile of cores is done, in ns; 0 where they computed none.
    pub cores: f64,
    /// The same of units.
    pub units: f64,
    /// Tiles of units.
    pub of_units: usize,
}

impl Played {
    /// When all is done, in ns.
    pub fn end(&self) -> f64 {
        self.cores.max(self.units)
    }
}

/// A phase as it really goes: what tiles for either engine take, and how many others there are, with what each takes a core of
/// the fastest kind, in ns.
#[derive(Clone, Copy, Debug)]
pub struct Real {
    /// Of tiles for either.
    pub paces: Paces,
    /// Tiles for cores only, and the ns of one.
    pub cores: (usize, f64),
}

/// Plays through who claims what of `tiles` for either engine and of those for cores only, as planned with `share`. Paces that are
/// seen replace planned ones as claims end, as they do on a board.
pub fn simulate(mut share: Share, real: &Real, tiles: usize) -> Played {
    let units = std::iter::repeat_n((true, 0), share.units);
    let cores = (0..KINDS).flat_map(|kind| std::iter::repeat_n((false, kind), share.cores[kind]));
    let thread = |(i, (drives, kind))| Thread { drives, kind, calls: i == 0 };
    let threads: Vec<Thread> = units.chain(cores).enumerate().map(thread).collect();
    let mut free = vec![0.0; threads.len()];
    let mut running: Vec<Option<Claim>> = vec![None; threads.len()];
    let (mut rest, mut played) = (Rest { either: tiles, cores: real.cores.0 }, Played::default());
    let mut idle = vec![false; threads.len()];
    while rest.either + rest.cores > 0 || running.iter().any(Option::is_some) {
        let waiting = (0..threads.len()).filter(|&i| !idle[i]);
        let Some(i) = waiting.min_by(|&a, &b| f64::total_cmp(&free[a], &free[b])) else { break };
        let (thread, now) = (threads[i], free[i]);
        if let Some(done) = running[i] {
            let end = if done.engine == Engine::Unit { &mut played.units } else { &mut played.cores };
            *end = end.max(now);
            if done.of_either {
                share.paces.see(done.engine, thread.kind, real.paces.of(done.engine, thread.kind));
            }
            // Who left the rest to others looks again, as the pace is another.
            for (other, idle) in idle.iter_mut().enumerate().filter(|(_, idle)| **idle) {
                (free[other], *idle) = (now, false);
            }
        }
        let claim = share.choose(thread, rest);
        let left = if claim.of_either { &mut rest.either } else { &mut rest.cores };
        *left -= claim.take;
        (running[i], idle[i]) = if claim.take > 0 { (Some(claim), false) } else { (None, true) };
        let ns = match claim.of_either {
            true => real.paces.of(claim.engine, thread.kind),
            false => real.cores.1 / real.paces.speeds[thread.kind],
        };
        free[i] = now + claim.take as f64 * ns;
        if claim.engine == Engine::Unit {
            played.of_units += claim.take;
        }
    }
    played
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(units: usize, cores: usize, core: f64, unit: f64) -> Share {
        Share::alike(units, cores, Pace { core, unit })
    }

    #[test]
    fn cores_alone_claim_an_eighth_of_a_team_of_two() {
        let claim = |share: Share, left| share.claim(Engine::Core, 0, left);
        let two = share(0, 2, 100.0, f64::INFINITY);
        assert_eq!([80, 1, 0].map(|left| claim(two, left)), [10, 1, 0]);
        assert_eq!(claim(share(0, 1, 100.0, f64::INFINITY), 80), 80);
        for (threads, left) in (1..40).flat_map(|threads| (0..300).map(move |left| (threads, left))) {
            let general = claim(share(0, threads, 1.0, f64::INFINITY), left);
            assert_eq!(alike(threads, left), general, "{left} for {threads}");
        }
    }

    #[test]
    fn claims_follow_speed_and_the_slow_leave_the_rest() {
        let both = share(1, 3, 10.0, 1.0);
        let claim = |engine, left| both.claim(engine, 0, left);
        assert_eq!((claim(Engine::Unit, 130), claim(Engine::Core, 130)), (25, 3));
        // The unit has computed nine tiles before a core has computed one.
        assert_eq!((claim(Engine::Core, 9), claim(Engine::Unit, 9)), (0, 2));
        assert_eq!(claim(Engine::Core, 10), 1);
    }

    #[test]
    fn little_cores_claim_little() {
        let phone = kinds([1, 3, 4], [1.0, 0.6, 0.25]);
        let claims = |left| [0, 1, 2].map(|kind| phone.claim(Engine::Core, kind, left));
        assert_eq!(claims(152), [10, 6, 2]);
        // The others have computed nine tiles before a little core has computed one.
        assert_eq!((claims(10), claims(9)), ([1; 3], [1, 1, 0]));
        // What was seen counts for the kind that was seen, and as a measure of those that were not.
        let mut paces = Paces { seen: [0.0; KINDS], ..phone.paces };
        paces.see(Engine::Core, 1, 50.0);
        assert_eq!([0, 1, 2].map(|kind| paces.of(Engine::Core, kind)), [30.0, 50.0, 120.0]);
    }

    /// Some thread claims whatever is left, or nobody would.
    #[test]
    fn nothing_is_left_to_nobody() {
        for (units, cores) in [(1, 0), (0, 1), (1, 1), (1, 7), (2, 100)] {
            for pace in [1e-3, 0.5, 1.0, 1.5, 1e3] {
                let share = share(units, cores, 1.0, pace);
                for left in [1, 2, 7, 1000] {
                    let claims = |engine, n| n > 0 && share.claim(engine, 0, left) > 0;
                    assert!(claims(Engine::Unit, units) || claims(Engine::Core, cores), "{share:?} {left}");
                }
            }
        }
    }

    /// One engine four times slower or quicker than predicted: within a tenth of the best split of whole tiles.
    #[test]
    fn wrong_predictions_cost_little() {
        for (units, cores) in [(1, 1), (1, 3), (1, 5), (2, 8)] {
            for ratio in [1.0, 2.0, 5.0, 14.0] {
                for (core, unit) in [(4.0, 1.0), (1.0, 4.0), (0.25, 1.0), (1.0, 0.25), (1.0, 1.0)] {
                    let planned = share(units, cores, ratio, 1.0);
                    check(planned, planned.paces, Pace { core: ratio * core, unit });
                }
            }
        }
    }

    /// Cores of three kinds, one of them four times slower or quicker than it is said to be, with and without a unit: likewise.
    #[test]
    fn kinds_that_were_told_wrongly_cost_little() {
        for counts in [[1, 3, 4], [2, 0, 6], [4, 0, 4], [1, 2, 2]] {
            for (wrong, factor) in [(0, 1.0), (0, 0.25), (1, 0.25), (2, 0.25), (0, 4.0), (1, 4.0), (2, 4.0)] {
                for (units, unit) in [(0, 1.0), (1, 1.0), (1, 0.2)] {
                    let mut planned = kinds(counts, [1.0, 0.7, 0.3]);
                    planned.cores[0] -= units;
                    planned.units = units;
                    planned.paces.pace.unit = unit;
                    let mut real = planned.paces;
                    real.speeds[wrong] *= factor;
                    check(planned, real, real.pace);
                }
            }
        }
    }

    /// Tiles for cores only beside those for either, one engine four times slower or quicker than predicted: within a tenth of
    /// threads that are all busy to the end, where the longest tile is no longer than that.
    #[test]
    fn help_follows_wrong_predictions() {
        for (units, cores, ratio) in [(1, 1, 5.0), (1, 3, 5.0), (1, 3, 14.0), (1, 7, 4.0), (2, 6, 8.0)] {
            for (core, unit) in [(1.0, 1.0), (1.0, 4.0), (4.0, 1.0), (0.25, 1.0), (1.0, 0.25)] {
                for others in [0.2, 1.0, 5.0] {
                    let planned = share(units, cores, ratio, 1.0);
                    let paces = Paces::new(Pace { core: ratio * core, unit }, planned.paces.speeds);
                    // Work of cores as long as that of units, times `others`.
                    let (each, threads) = (core, (units + cores) as f64);
                    let count = (others * TILES as f64 * unit / units as f64 * cores as f64 / each) as usize;
                    let took = simulate(planned, &Real { paces, cores: (count, each) }, TILES).end();
                    let all = count as f64 * each;
                    let (d, c) = (units as f64, cores as f64);
                    // Cores help with what is units', or drivers with what is cores'.
                    let helped = (TILES as f64 + all / paces.pace.core) / (d / unit + c / paces.pace.core);
                    let best = if helped * c > all { helped } else { (TILES as f64 * unit + all) / threads };
                    let slack = 1.1 * best + paces.pace.core.min(best);
                    assert!(
                        took <= slack,
                        "{units} {cores} {ratio} {core} {unit} {others}: {took} of {best}"
                    );
                }
            }
        }
    }

    fn kinds(counts: [usize; 3], speeds: [f64; 3]) -> Share {
        let mut share = share(0, 0, 1.0, f64::INFINITY);
        share.cores[..3].copy_from_slice(&counts);
        share.paces.speeds[..3].copy_from_slice(&speeds);
        share
    }

    const TILES: usize = 128;

    fn check(planned: Share, real: Paces, pace: Pace) {
        let paces = Paces { pace, ..real };
        let took = simulate(planned, &Real { paces, cores: (0, 0.0) }, TILES).end();
        let best = best(&Share { paces, ..planned }, TILES);
        assert!(took <= 1.1 * best, "{planned:?} {real:?}: {took} of {best}");
    }

    /// The least finish time of whole tiles.
    fn best(share: &Share, tiles: usize) -> f64 {
        let done =
            |by: f64| share.groups().map(|(threads, ns)| threads * (by / ns + 1e-9).floor()).sum::<f64>();
        let ends = share.groups().flat_map(|(_, ns)| (1..=tiles).map(move |n| n as f64 * ns));
        ends.filter(|&end| done(end) >= tiles as f64).fold(f64::INFINITY, f64::min)
    }
}
