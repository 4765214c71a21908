//! Every tile once, phases in order, scratch to itself, whatever the threads do.

use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::*;
use crate::task::Pace;

const ROUNDS: usize = if cfg!(miri) { 5 } else { 3000 };

/// Phase p writes `next[t] = sum of a window of the phase before + t`: wrong where a barrier leaks or a tile is missed
/// or computed twice (the tile's own cell of the phase's buffer is read and must be the round's start value).
struct Waves {
    phases: usize,
    tiles: usize,
    cells: Vec<Vec<AtomicUsize>>,
    threads_seen: AtomicUsize,
    panic_at: Option<(usize, usize)>,
    engines: Engines,
    /// Threads that ran tiles, and what they were.
    ran: Mutex<HashSet<(ThreadId, Engine)>>,
    /// Tiles that a unit ran.
    of_units: AtomicUsize,
    seen: Mutex<Option<Pace>>,
}

impl Waves {
    fn new(phases: usize, tiles: usize) -> Self {
        let row = || (0..tiles).map(|_| AtomicUsize::new(0)).collect();
        let cells = (0..phases + 1).map(|_| row()).collect();
        let threads_seen = AtomicUsize::new(0);
        let (engines, ran, of_units) = (Engines::Cores, Mutex::default(), AtomicUsize::new(0));
        let seen = Mutex::default();
        Self { phases, tiles, cells, threads_seen, panic_at: None, engines, ran, of_units, seen }
    }

    fn expected(&self) -> Vec<usize> {
        let mut row = vec![0; self.tiles];
        for _ in 0..self.phases {
            row = (0..self.tiles).map(|t| row[t] + row[(t + 7) % self.tiles] % 1000 + t + 1).collect();
        }
        row
    }

    fn check(&self) {
        let row: Vec<usize> = self.cells[self.phases].iter().map(|c| c.swap(0, Ordering::Relaxed)).collect();
        assert_eq!(row, self.expected());
        self.cells.iter().flatten().for_each(|c| c.store(0, Ordering::Relaxed));
    }
}

// SAFETY: tiles write their own cells, all atomic.
unsafe impl Task for Waves {
    fn phases(&self) -> usize {
        self.phases
    }
    fn tiles(&self, _: usize) -> usize {
        self.tiles
    }
    fn scratch(&self) -> usize {
        64
    }
    fn engines(&self, _: usize) -> Engines {
        self.engines
    }
    fn seen(&self, pace: Pace) {
        *self.seen.lock().unwrap() = Some(pace);
    }
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        assert_eq!((scratch.len(), scratch.addresses().start % 64), (64, 0));
        // SAFETY: the scratch is this thread's for the length of the call.
        let scratch = unsafe { std::slice::from_raw_parts_mut(scratch.ptr(), scratch.len()) };
        self.ran.lock().unwrap().insert((thread::current().id(), engine));
        if engine == Engine::Unit {
            self.of_units.fetch_add(tiles.len(), Ordering::Relaxed);
            let first = match self.engines {
                Engines::Apart(first) | Engines::First(first, _) => first,
                _ => self.tiles,
            };
            assert!(tiles.end <= first, "{tiles:?}");
        }
        let mark = tiles.start as u8;
        scratch.fill(mark);
        self.threads_seen.fetch_max(tiles.len(), Ordering::Relaxed);
        for t in tiles {
            if self.panic_at == Some((phase, t)) {
                panic!("tile {t} of phase {phase}");
            }
            let at = |t: usize| self.cells[phase][t % self.tiles].load(Ordering::Relaxed);
            // Relaxed: the barrier alone orders phases.
            let before =
                self.cells[phase + 1][t].fetch_add(at(t) + at(t + 7) % 1000 + t + 1, Ordering::Relaxed);
            assert_eq!(before, 0, "tile {t} of phase {phase} ran twice");
        }
        assert!(scratch.iter().all(|&b| b == mark), "scratch shared by two threads");
    }
}

#[test]
fn many_executes_on_more_threads_than_cores() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    for round in 0..ROUNDS {
        let task = Waves::new(1 + round % 4, 1 + round % 97);
        let mut crew = team.enter(1 + round % 8);
        crew.run(&task, &mut scratch);
        task.check();
    }
}

#[test]
fn many_tasks_in_one_execute() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    let mut crew = team.enter(8);
    let task = Waves::new(3, 61);
    for _ in 0..ROUNDS {
        crew.run(&task, &mut scratch);
        task.check();
    }
}

/// Workers that sleep between phases and tasks miss none, and come to rest.
#[test]
fn workers_that_sleep() {
    let (team, mut scratch) = (three_units(), Scratch::default());
    let mut long = team.enter_asleep(4);
    for round in 0..ROUNDS / 3 {
        let mut task = Waves::new(1 + round % 4, 1 + round % 61);
        task.engines = [Engines::Cores, Engines::Units][round % 2];
        long.run(&task, &mut scratch);
        task.check();
        let mut short = team.enter_asleep(1 + round % 6);
        short.run(&task, &mut scratch);
        task.check();
    }
    let shared = |crew: &mut Crew<'_>| {
        let task = Waves::new(4, 61);
        crew.run(&task, &mut Scratch::default());
        task.ran.into_inner().unwrap().len()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while shared(&mut long) < 2 {
        assert!(Instant::now() < deadline, "workers that sleep are never woken");
    }
    drop(long);
    while !team.pool().workers.iter().all(|w| w.duty.load(Ordering::Acquire).is_null()) {
        assert!(Instant::now() < deadline, "workers do not come to rest");
        thread::yield_now();
    }
}

#[test]
fn crews_share_the_team() {
    let team = Team::new();
    thread::scope(|scope| {
        for seed in 0..4 {
            let team = &team;
            scope.spawn(move || {
                let mut scratch = Scratch::default();
                for round in 0..ROUNDS / 4 {
                    let task = Waves::new(2, 40 + (seed + round) % 9);
                    let mut crew = team.enter(2 + (seed + round) % 4);
                    for _ in 0..3 {
                        crew.run(&task, &mut scratch);
                        task.check();
                    }
                }
            });
        }
    });
    let pool = team.pool();
    assert!(pool.workers.len() <= 4, "{} workers for crews of five", pool.workers.len());
    assert!(pool.boards.len() <= 8, "{} boards for four crews and four workers", pool.boards.len());
}

#[test]
fn entering_and_leaving() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    for round in 0..ROUNDS * 3 {
        let mut crew = team.enter(4);
        if round % 16 == 0 {
            let task = Waves::new(1, 9);
            crew.run(&task, &mut scratch);
            task.check();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while !team.pool().workers.iter().all(|w| w.duty.load(Ordering::Acquire).is_null()) {
        assert!(Instant::now() < deadline, "workers do not come to rest");
        thread::yield_now();
    }
}

#[test]
fn a_crew_takes_in_workers_that_become_idle() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    let first = team.enter(3);
    assert_eq!(first.threads(), 3);
    let mut second = team.enter(3);
    assert_eq!(second.threads(), 1, "all workers are claimed");
    drop(first);
    let task = Waves::new(1, 50);
    let deadline = Instant::now() + Duration::from_secs(20);
    while second.threads() < 3 {
        assert!(Instant::now() < deadline, "the idle workers are never claimed");
        second.run(&task, &mut scratch);
        task.check();
    }
}

#[test]
fn no_worker_is_waited_for() {
    // Workers that never come: the crew does all itself.
    let (team, mut scratch) = (Team::new(), Scratch::default());
    let absent: &'static Worker = Box::leak(Box::new(Worker::of_kind(0)));
    team.pool().workers.push(absent);
    for _ in 0..3 {
        let mut crew = team.enter(2);
        assert_eq!(crew.threads(), 2);
        let task = Waves::new(3, 50);
        crew.run(&task, &mut scratch);
        task.check();
    }
}

#[test]
fn panics_reach_the_caller_and_leave_the_crew_usable() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    let mut crew = team.enter(4);
    for round in 0..ROUNDS / 50 + 2 {
        let mut bad = Waves::new(3, 40);
        let at = (round % 3, round * 7 % 40);
        bad.panic_at = Some(at);
        let failure = catch_unwind(AssertUnwindSafe(|| crew.run(&bad, &mut scratch))).unwrap_err();
        let message = failure.downcast_ref::<String>().unwrap();
        assert_eq!(*message, format!("tile {} of phase {}", at.1, at.0));
        let good = Waves::new(2, 40);
        crew.run(&good, &mut scratch);
        good.check();
    }
}

#[test]
fn claims_are_small_where_threads_share() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    let task = Waves::new(1, 320);
    team.enter(1).run(&task, &mut scratch);
    assert_eq!(task.threads_seen.swap(0, Ordering::Relaxed), 320);
    task.check();
    team.enter(4).run(&task, &mut scratch);
    assert!(task.threads_seen.load(Ordering::Relaxed) <= 20);
}

/// A team whose cores are of three kinds, as it believes, to which the system pins no thread: there are none such.
fn of_kinds() -> Team {
    fn cores() -> &'static Cores {
        static CORES: OnceLock<Cores> = OnceLock::new();
        let speeds = [1.0, 0.6, 0.6, 0.25, 0.25];
        let nowhere = |(i, speed)| (speed, Some((1 << 20) + i));
        CORES.get_or_init(|| Cores::new(speeds.into_iter().enumerate().map(nowhere).collect()))
    }
    Team { cores, units: || 2, ..Team::new() }
}

/// Every tile once, however wrong the speeds; the fastest cores drive units, and a caller waits for nobody.
#[test]
fn cores_of_several_kinds() {
    let (team, mut scratch) = (of_kinds(), Scratch::default());
    let pace = Pace { core: 1000.0, unit: 100.0 };
    for round in 0..ROUNDS {
        let mut task = Waves::new(1 + round % 3, 1 + round % 97);
        task.engines =
            [Engines::Cores, Engines::Units, Engines::Both(pace), Engines::First(7, pace), Engines::Apart(5)]
                [round % 5];
        team.enter(1 + round % 8).run(&task, &mut scratch);
        task.check();
        let ran = task.ran.into_inner().unwrap();
        assert!(ran.iter().filter(|(_, engine)| *engine == Engine::Unit).count() <= 2, "{ran:?}");
    }
    assert_eq!(
        team.pool().workers.iter().map(|worker| worker.kind).collect::<Vec<_>>(),
        [1, 1, 2, 2, 2, 2, 2]
    );
}

/// Quicker cores are awaited by nobody: one that never comes leaves the rest to the caller.
#[test]
fn no_quicker_core_is_waited_for() {
    let (team, mut scratch) = (of_kinds(), Scratch::default());
    team.pool().workers.push(Box::leak(Box::new(Worker::of_kind(0))));
    for tiles in [1, 2, 50] {
        let task = Waves::new(3, tiles);
        team.enter(3).run(&task, &mut scratch);
        task.check();
    }
}

fn three_units() -> Team {
    Team { units: || 3, ..Team::new() }
}

#[test]
fn no_more_threads_than_units() {
    let (team, mut scratch) = (three_units(), Scratch::default());
    let mut crew = team.enter(8);
    // Threads that shared a task for units, after a task for all whose workers still look for tiles.
    let mut shared = |round: usize| {
        crew.run(&Waves::new(1, 61), &mut scratch);
        let mut task = Waves::new(1 + round % 3, 61);
        task.engines = Engines::Units;
        crew.run(&task, &mut scratch);
        task.check();
        task.ran.into_inner().unwrap()
    };
    for round in 0..ROUNDS {
        let ran = shared(round);
        assert!(ran.len() <= 3 && ran.iter().all(|(_, engine)| *engine == Engine::Unit), "{ran:?}");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while shared(0).len() < 2 {
        assert!(Instant::now() < deadline, "two threads never share a task for units");
    }
}

/// Every tile of units lies in an entry, of at most as many threads as there are units, in the order of the phases.
#[test]
fn entries_are_recorded() {
    let origin = Instant::now();
    let (team, mut scratch) = (three_units(), Scratch::default());
    let entries = Entries::new(origin, 1000);
    let mut several = HashSet::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    for round in 0.. {
        let mut task = Waves::new(1 + round % 3, 61);
        let pace = Pace { core: 100.0, unit: 10.0 };
        task.engines =
            [Engines::Units, Engines::Apart(20), Engines::First(20, pace), Engines::Cores][round % 4];
        let mut crew = team.enter(1 + round % 6);
        crew.run(&Recorded { task: &task, entries: &entries }, &mut scratch);
        task.check();
        let (mut threads, mut last) = (HashSet::new(), [0; 10]);
        let lost = entries.take(|entry| {
            assert!(last[entry.thread] <= entry.start_ns && entry.start_ns <= entry.end_ns, "{entry:?}");
            last[entry.thread] = entry.end_ns;
            threads.insert(entry.thread);
        });
        let ran = task.ran.into_inner().unwrap();
        let of_units = ran.iter().filter(|(_, engine)| *engine == Engine::Unit).count();
        assert_eq!((threads.len(), lost), (of_units, 0));
        assert!(threads.len() <= 3 && u128::from(*last.iter().max().unwrap()) <= origin.elapsed().as_nanos());
        several.extend(threads);
        if round >= ROUNDS && several.len() > 1 {
            break;
        }
        assert!(Instant::now() < deadline || round < ROUNDS, "two threads never share a task for units");
    }
}

#[test]
fn entries_beyond_the_room_are_counted() {
    let entries = Entries::new(Instant::now(), 2);
    let mut task = Waves::new(3, 4);
    task.engines = Engines::Units;
    three_units().enter(1).run(&Recorded { task: &task, entries: &entries }, &mut Scratch::default());
    let mut kept = 0;
    assert_eq!((entries.take(|_| kept += 1), kept), (1, 2));
    assert_eq!(entries.take(|_| kept += 1), 0);
}

/// A task for both engines, its predictions right, wrong or absurd: every tile once, at most as many threads in units as
/// there are, and no task is left to engines that leave it to others.
#[test]
fn units_and_cores_share_a_task() {
    let (team, mut scratch) = (three_units(), Scratch::default());
    for round in 0..ROUNDS {
        let mut task = Waves::new(1 + round % 3, 1 + round % 97);
        let pace = [1.0, 1e3, 1e9, 1e-3][round % 4];
        task.engines = Engines::Both(Pace { core: 1000.0, unit: pace });
        team.enter(1 + round % 8).run(&task, &mut scratch);
        task.check();
        assert!(task.seen.into_inner().unwrap().is_some(), "the pace of a task for both is told");
        let ran = task.ran.into_inner().unwrap();
        assert!(ran.iter().filter(|(_, engine)| *engine == Engine::Unit).count() <= 3, "{ran:?}");
    }
    // One thread takes the quicker engine.
    for (unit, tiles) in [(1.0, 40), (3.0, 0)] {
        let mut task = Waves::new(1, 40);
        task.engines = Engines::Both(Pace { core: 2.0, unit });
        team.enter(1).run(&task, &mut scratch);
        assert_eq!(task.of_units.into_inner(), tiles);
    }
}

/// A task whose first tiles are for units: these and no others run there, on at most as many threads as there are units.
#[test]
fn units_compute_the_first_tiles() {
    let (team, mut scratch) = (three_units(), Scratch::default());
    for round in 0..ROUNDS {
        let (phases, tiles) = (1 + round % 3, 1 + round % 97);
        let first = [0, 1, tiles / 3, tiles - 1, tiles][round % 5];
        let mut task = Waves::new(phases, tiles);
        task.engines = Engines::Apart(first);
        team.enter(1 + round % 8).run(&task, &mut scratch);
        task.check();
        assert_eq!(task.of_units.into_inner(), phases * first);
        let ran = task.ran.into_inner().unwrap();
        assert!(ran.iter().filter(|(_, engine)| *engine == Engine::Unit).count() <= 3, "{ran:?}");
    }
}

/// A task whose first tiles are for either engine, however wrong its pace: every tile once, only those in units, and what was seen
/// of them is told.
#[test]
fn cores_help_with_the_first_tiles() {
    let (team, mut scratch) = (three_units(), Scratch::default());
    for round in 0..ROUNDS {
        let (phases, tiles) = (1 + round % 3, 1 + round % 97);
        let first = [0, 1, tiles / 3, tiles - 1, tiles][round % 5];
        let mut task = Waves::new(phases, tiles);
        task.engines = Engines::First(first, Pace { core: 1000.0, unit: [1.0, 1e3, 1e9, 1e-3][round % 4] });
        team.enter(1 + round % 8).run(&task, &mut scratch);
        task.check();
        assert!(first == 0 || task.seen.into_inner().unwrap().is_some());
        assert!(task.of_units.into_inner() <= phases * first);
        let ran = task.ran.into_inner().unwrap();
        assert!(ran.iter().filter(|(_, engine)| *engine == Engine::Unit).count() <= 3, "{ran:?}");
    }
}

/// Two crews and one unit: the second computes on cores what both engines may, and waits for what is the unit's.
#[test]
fn crews_share_units() {
    let team = Team { units: || 1, ..Team::new() };
    let crew = team.enter(2);
    let driven = crew.team.drive(5);
    assert_eq!((driven.count, team.drive(1).count), (1, 0));
    let mut task = Waves::new(1, 40);
    task.engines = Engines::Both(Pace { core: 1e9, unit: 1.0 });
    team.enter(2).run(&task, &mut Scratch::default());
    task.check();
    assert_eq!(task.of_units.load(Ordering::Relaxed), 0, "the unit is another crew's");
    task.engines = Engines::Apart(30);
    team.enter(2).run(&task, &mut Scratch::default());
    task.check();
    assert_eq!(task.of_units.load(Ordering::Relaxed), 0, "the unit is another crew's");
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let mut task = Waves::new(1, 40);
            task.engines = Engines::Units;
            team.enter(2).run(&task, &mut Scratch::default());
            task.check();
        });
        thread::sleep(Duration::from_millis(5));
        assert!(!waits.is_finished());
        drop(driven);
    });
    assert_eq!(team.driven.load(Ordering::Relaxed), 0);
}

#[test]
fn tasks_without_tiles_or_phases() {
    let (team, mut scratch) = (Team::new(), Scratch::default());
    let mut crew = team.enter(3);
    for task in [Waves::new(0, 5), Waves::new(2, 0)] {
        crew.run(&task, &mut scratch);
        task.check();
    }
}

#[test]
#[cfg(all(unix, not(miri)))]
fn a_forked_process_has_a_team_of_its_own() {
    let mut scratch = Scratch::default();
    let task = Waves::new(2, 50);
    Team::global().enter(3).run(&task, &mut scratch);
    task.check();
    // What some thread may hold when another one forks: nobody in the child gives it back.
    let held = Team::global().pool();
    // SAFETY: the child runs one task and ends without unwinding or exit handlers.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let done = catch_unwind(AssertUnwindSafe(|| {
                let mut crew = Team::global().enter(3);
                crew.run(&task, &mut scratch);
                task.check();
                crew.threads()
            }));
            libc::_exit(if matches!(done, Ok(3)) { 0 } else { 1 });
        }
        drop(held);
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0);
    }
}
