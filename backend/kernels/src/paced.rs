//! What tiles for either engine take: as predicted, then as seen.

use std::sync::atomic::{AtomicU64, Ordering};

use tandem_base::{Engine, Pace};

/// Of what was seen before, the share that stays: a thread that was preempted tells little.
const KEPT: f64 = 0.75;

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
            let ns = KEPT * before.of(engine) + (1.0 - KEPT) * pace.of(engine);
            self.now[engine as usize].store(ns.to_bits(), Ordering::Relaxed);
        }
    }

    /// Takes note of who computes so many tiles.
    pub(crate) fn count(&self, engine: Engine, tiles: usize) {
        self.computed[engine as usize].fetch_add(tiles as u64, Ordering::Relaxed);
    }
}
