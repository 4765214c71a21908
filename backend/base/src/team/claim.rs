//! How many tiles an engine claims at a time: a rule of its own, which simulations follow as well.

use crate::task::{Engine, Pace};

/// Engines that share a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Threads that drive units.
    pub units: usize,
    /// Threads that are cores only.
    pub cores: usize,
    /// What a tile takes each.
    pub pace: Pace,
}

/// Claims of a phase's rest an engine makes in turn: more, and threads that were predicted wrongly finish together; fewer,
/// and they meet at the board less often.
const TURNS: f64 = 4.0;

impl Share {
    /// Tiles to claim of the `left` ones, at least 1 of any, or none: where the quicker engines alone have computed all of
    /// them before this one has computed one.
    pub fn claim(&self, engine: Engine, left: usize) -> usize {
        if self.units + self.cores == 1 {
            return left;
        }
        let own = self.pace.of(engine);
        let (other, others) = match engine {
            Engine::Core => (self.pace.unit, self.units),
            Engine::Unit => (self.pace.core, self.cores),
        };
        if left == 0 || (others > 0 && own > other * left.div_ceil(others) as f64) {
            return 0;
        }
        let rate = self.units as f64 / self.pace.unit + self.cores as f64 / self.pace.core;
        let part = left as f64 / (rate * own * TURNS);
        (part.ceil() as usize).clamp(1, left)
    }

    /// Time for all of `tiles`, if every engine were busy to the end, in ns.
    pub fn ideal_ns(&self, tiles: usize) -> f64 {
        tiles as f64 / (self.units as f64 / self.pace.unit + self.cores as f64 / self.pace.core)
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

/// Plays through who claims what of `tiles` as planned with `share`, where they really take `real`. Paces that are seen replace
/// planned ones as claims end, as they do on a board.
pub fn simulate(share: Share, real: Pace, tiles: usize) -> Played {
    let engines = std::iter::repeat_n(Engine::Unit, share.units);
    let engines: Vec<Engine> = engines.chain(std::iter::repeat_n(Engine::Core, share.cores)).collect();
    let (mut free, mut running) = (vec![0.0; engines.len()], vec![0; engines.len()]);
    let (mut share, mut left, mut played) = (share, tiles, Played::default());
    let mut idle = vec![false; engines.len()];
    while left > 0 || running.iter().any(|&n| n > 0) {
        let waiting = (0..engines.len()).filter(|&i| !idle[i]);
        let Some(i) = waiting.min_by(|&a, &b| f64::total_cmp(&free[a], &free[b])) else { break };
        let (engine, now) = (engines[i], free[i]);
        if running[i] > 0 {
            let end = if engine == Engine::Unit { &mut played.units } else { &mut played.cores };
            *end = end.max(now);
            share.pace = share.pace.with(engine, real.of(engine));
            // Who left the rest to others looks again, as the pace is another.
            for (other, idle) in idle.iter_mut().enumerate().filter(|(_, idle)| **idle) {
                (free[other], *idle) = (now, false);
            }
        }
        running[i] = share.claim(engine, left);
        left -= running[i];
        idle[i] = running[i] == 0;
        free[i] = now + running[i] as f64 * real.of(engine);
        if engine == Engine::Unit {
            played.of_units += running[i];
        }
    }
    played
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(units: usize, cores: usize, core: f64, unit: f64) -> Share {
        Share { units, cores, pace: Pace { core, unit } }
    }

    #[test]
    fn cores_alone_claim_an_eighth_of_a_team_of_two() {
        let two = share(0, 2, 100.0, f64::INFINITY);
        assert_eq!(two.claim(Engine::Core, 80), 10);
        assert_eq!(two.claim(Engine::Core, 1), 1);
        assert_eq!(two.claim(Engine::Core, 0), 0);
        assert_eq!(share(0, 1, 100.0, f64::INFINITY).claim(Engine::Core, 80), 80);
    }

    #[test]
    fn claims_follow_speed_and_the_slow_leave_the_rest() {
        let both = share(1, 3, 10.0, 1.0);
        let (unit, core) = (both.claim(Engine::Unit, 130), both.claim(Engine::Core, 130));
        assert_eq!((unit, core), (25, 3));
        // The unit has computed nine tiles before a core has computed one.
        assert_eq!((both.claim(Engine::Core, 9), both.claim(Engine::Unit, 9)), (0, 2));
        assert_eq!(both.claim(Engine::Core, 10), 1);
    }

    /// Some engine claims whatever is left, or nobody would.
    #[test]
    fn nothing_is_left_to_nobody() {
        for (units, cores) in [(1, 0), (0, 1), (1, 1), (1, 7), (2, 100)] {
            for pace in [1e-3, 0.5, 1.0, 1.5, 1e3] {
                let share = share(units, cores, 1.0, pace);
                for left in [1, 2, 7, 1000] {
                    let claims = |engine, n| n > 0 && share.claim(engine, left) > 0;
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
                    let real = Pace { core: ratio * core, unit };
                    let took = simulate(planned, real, TILES).end();
                    let best = best(units, cores, real, TILES);
                    assert!(took <= 1.1 * best, "{planned:?} {real:?}: {took} of {best}");
                }
            }
        }
    }

    const TILES: usize = 128;

    /// The least finish time of whole tiles.
    fn best(units: usize, cores: usize, real: Pace, tiles: usize) -> f64 {
        let finish = |of_units: usize| {
            let part = |tiles: usize, n: usize, ns: f64| tiles.div_ceil(n) as f64 * ns;
            part(of_units, units, real.unit).max(part(tiles - of_units, cores, real.core))
        };
        (0..=tiles).map(finish).fold(f64::INFINITY, f64::min)
    }
}
