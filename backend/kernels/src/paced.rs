//! What tiles for either engine take: as predicted, then as seen.

use std::sync::atomic::{AtomicU64, Ordering};

use tandem_base::{Engine, Pace};

/// Of what was seen before, the share that stays: a thread that was preempted tells little.
const KEPT: f64 = 0.75;
/// What is seen counts for no more than this multiple of what was seen before, for the same reason.
const MOST: f64 = 2.0;
/// What an engine that is left aside is believed to take comes closer to the prediction again by this share, so that it is tried
/// once in some hundred executes.
const FORGOTTEN: f64 = 1.0 / 256.0;

/// The pace of a task's tiles that either engine computes, kept from one execute to the next.
pub struct Paced {
    predicted: Pace,
    /// Bits of the ns that a core and a unit take for a tile.
    now: [AtomicU64; 2],
    /// Tiles that cores and units have computed.
    computed: [AtomicU64; 2],
}

impl Paced {
    /// As predicted.
    pub fn new(predicted: Pace) -> Self {
        let now = [predicted.core, predicted.unit].map(|ns| AtomicU64::new(ns.to_bits()));
        Self { predicted, now, computed: [const { AtomicU64::new(0) }; 2] }
    }

    /// What a tile takes, as predicted.
    pub fn predicted(&self) -> Pace {
        self.predicted
    }

    /// What a tile takes, as predicted or last seen.
    pub fn pace(&self) -> Pace {
        let [core, unit] = self.now.each_ref().map(|ns| f64::from_bits(ns.load(Ordering::Relaxed)));
        Pace { core, unit }
    }

    /// Tiles that an engine has computed.
    pub fn computed(&self, engine: Engine) -> u64 {
        self.computed[engine as usize].load(Ordering::Relaxed)
    }

    /// Takes note of what was seen: a part of it goes into the next prediction.
    pub(crate) fn see(&self, pace: Pace) {
        let before = self.pace();
        for engine in [Engine::Core, Engine::Unit] {
            let seen = pace.of(engine).max(1.0).min(MOST * before.of(engine));
            let ns = KEPT * before.of(engine) + (1.0 - KEPT) * seen;
            self.now[engine as usize].store(ns.to_bits(), Ordering::Relaxed);
        }
    }

    /// The engine to give a whole task to.
    pub fn quicker(&self) -> Engine {
        let pace = self.pace();
        if pace.unit <= pace.core { Engine::Unit } else { Engine::Core }
    }

    /// Takes note of what a whole task took an engine.
    pub fn took(&self, engine: Engine, ns: f64) {
        let other = if engine == Engine::Unit { Engine::Core } else { Engine::Unit };
        let before = self.pace().of(other);
        self.see(self.pace().with(engine, ns));
        let ns = before + FORGOTTEN * (self.predicted.of(other) - before);
        self.now[other as usize].store(ns.to_bits(), Ordering::Relaxed);
        self.count(engine, 1);
    }

    /// Takes note of who computes so many tiles.
    pub(crate) fn count(&self, engine: Engine, tiles: usize) {
        self.computed[engine as usize].fetch_add(tiles as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Executes of a task that really takes so long; how many of them on units.
    fn on_units(paced: &Paced, real: Pace, executes: usize) -> usize {
        let run = |_| {
            let engine = paced.quicker();
            paced.took(engine, real.of(engine));
            engine
        };
        (0..executes).map(run).filter(|engine| *engine == Engine::Unit).count()
    }

    #[test]
    fn a_slow_engine_is_left_and_tried_again() {
        let paced = Paced::new(Pace { core: 300.0, unit: 100.0 });
        assert_eq!(on_units(&paced, Pace { core: 300.0, unit: 120.0 }, 1000), 1000, "still the quicker one");
        // As when another program takes the unit: left within some executes, tried seldom.
        let slow = Pace { core: 300.0, unit: 400.0 };
        assert!((2..12).contains(&on_units(&paced, slow, 20)), "{:?}", paced.pace());
        let tried = on_units(&paced, slow, 1000);
        assert!((1..40).contains(&tried), "{tried} times in a thousand");
        // It is there again.
        let _ = on_units(&paced, Pace { core: 300.0, unit: 100.0 }, 300);
        assert_eq!(on_units(&paced, Pace { core: 300.0, unit: 100.0 }, 100), 100);
    }

    #[test]
    fn one_slow_execute_changes_nothing() {
        let paced = Paced::new(Pace { core: 130.0, unit: 100.0 });
        paced.took(Engine::Unit, 1e6);
        assert_eq!((paced.quicker(), paced.computed(Engine::Unit)), (Engine::Unit, 1));
    }
}
