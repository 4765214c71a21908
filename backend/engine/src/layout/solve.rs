//! Least sum of cost tables over variables of few states: variable elimination (Bertelè and Brioschi, 1972).
//!
//! States that another one beats whatever the rest does are left out first.
//! A variable is eliminated by adding up the tables that hold it and keeping, for every state of its neighbours, the
//! least cost over its own; taken back in reverse, each variable finds its best state. The order is min-fill. Exact, and
//! linear on chains and trees; the work grows with the widest sum of tables, which nested skips keep small. Where the
//! sum would pass [`WIDEST`], the variable with the most neighbours is fixed at the state it has in the start
//! instead; descent, one variable at a time, then improves the whole.

use std::collections::BTreeSet;

/// Most entries of a sum of tables.
pub(crate) const WIDEST: usize = 1 << 14;
/// Most rounds of descent.
const ROUNDS: usize = 8;

/// Costs of the states of some variables together, the last variable's fastest. Infinite is forbidden.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub vars: Vec<usize>,
    pub costs: Vec<f64>,
}

impl Table {
    /// The cost where every variable has the state `states` gives it.
    pub fn at(&self, sizes: &[usize], states: &[usize]) -> f64 {
        self.costs[self.vars.iter().fold(0, |at, &v| at * sizes[v] + states[v])]
    }

    /// Entries from one state of the variable at `place` to the next.
    fn stride(&self, sizes: &[usize], place: usize) -> usize {
        self.vars[place + 1..].iter().map(|&v| sizes[v]).product()
    }

    /// The table of kept states only, over the variables that have several.
    fn restricted(mut self, sizes: &[usize], kept: &[Vec<usize>]) -> Self {
        for place in (0..self.vars.len()).rev() {
            let var = self.vars[place];
            if kept[var].len() < sizes[var] {
                // Variables behind are restricted already.
                let stride = self.vars[place + 1..].iter().map(|&v| kept[v].len()).product();
                let mut costs = Vec::new();
                for block in self.costs.chunks(sizes[var] * stride) {
                    kept[var].iter().for_each(|&s| costs.extend_from_slice(&block[s * stride..][..stride]));
                }
                self.costs = costs;
            }
        }
        self.vars.retain(|&v| kept[v].len() > 1);
        self
    }

    /// Most that `state` of `var` costs above `than`, whatever states the other variables have.
    fn most_more(&self, sizes: &[usize], var: usize, state: usize, than: usize) -> f64 {
        let place = self.vars.iter().position(|&v| v == var).expect("a table that holds it");
        let stride = self.stride(sizes, place);
        let more = |block: &[f64]| {
            let (a, b) = (&block[state * stride..][..stride], &block[than * stride..][..stride]);
            // What cannot be either way tells nothing.
            let told = a.iter().zip(b).filter(|(a, b)| a.is_finite() || b.is_finite());
            told.map(|(a, b)| a - b).fold(f64::NEG_INFINITY, f64::max)
        };
        self.costs.chunks(sizes[var] * stride).map(more).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Sum of all tables.
pub(crate) fn total(sizes: &[usize], tables: &[Table], states: &[usize]) -> f64 {
    tables.iter().map(|t| t.at(sizes, states)).sum()
}

/// A state for each variable, `sizes[v]` of them for variable v, with least cost; exact unless a sum passes `widest`.
pub(crate) fn solve(sizes: &[usize], tables: &[Table], start: &[usize], widest: usize) -> Vec<usize> {
    let kept = undominated(sizes, tables, start);
    let tables: Vec<Table> = tables.iter().cloned().map(|t| t.restricted(sizes, &kept)).collect();
    let sizes: Vec<usize> = kept.iter().map(Vec::len).collect();
    let place = |(state, kept): (&usize, &Vec<usize>)| kept.iter().position(|s| s == state);
    let start: Vec<usize> = start.iter().zip(&kept).filter_map(place).collect();
    let states = eliminate(&sizes, &tables, &start, widest);
    states.iter().zip(&kept).map(|(&state, kept)| kept[state]).collect()
}

/// The states of every variable but those that another costs no more than, whatever the other variables do (dead-end
/// elimination: Desmet and others, 1992). The start's are kept, and some assignment of least cost is left.
fn undominated(sizes: &[usize], tables: &[Table], start: &[usize]) -> Vec<Vec<usize>> {
    let mut held = vec![Vec::new(); sizes.len()];
    for table in tables {
        table.vars.iter().for_each(|&v| held[v].push(table));
    }
    let kept = |var: usize| {
        let more = |state: usize, than: usize| -> f64 {
            held[var].iter().map(|t| t.most_more(sizes, var, state, than)).sum()
        };
        let mut left: Vec<usize> = (0..sizes[var]).collect();
        for than in (0..sizes[var]).rev().filter(|&than| than != start[var]) {
            if left.iter().any(|&state| state != than && more(state, than) <= 0.0) {
                left.retain(|&state| state != than);
            }
        }
        left
    };
    (0..sizes.len()).map(kept).collect()
}

/// As [`solve`], for tables as they are.
fn eliminate(sizes: &[usize], tables: &[Table], start: &[usize], widest: usize) -> Vec<usize> {
    let mut states = start.to_vec();
    let mut work = Elimination::new(sizes, tables.to_vec());
    let mut steps = Vec::new();
    let mut exact = true;
    while let Some(&((_, width), var)) = work.queue.first() {
        if width > widest {
            let var = work.most_connected();
            work.fix(var, start[var]);
            exact = false;
            continue;
        }
        steps.push((var, work.eliminate(var)));
    }
    for (var, table) in steps.iter().rev() {
        states[*var] = best(sizes, std::slice::from_ref(table), &mut states, *var);
    }
    if !exact {
        descend(sizes, tables, &mut states);
    }
    states
}

/// State of one variable with least cost where the others stay.
fn best(sizes: &[usize], tables: &[Table], states: &mut [usize], var: usize) -> usize {
    let kept = states[var];
    let mut least = (f64::INFINITY, 0);
    for state in 0..sizes[var] {
        states[var] = state;
        let cost = total(sizes, tables, states);
        if cost < least.0 {
            least = (cost, state);
        }
    }
    states[var] = kept;
    least.1
}

/// Moves single variables while that lowers the sum.
fn descend(sizes: &[usize], tables: &[Table], states: &mut [usize]) {
    let mut held = vec![Vec::new(); sizes.len()];
    for table in tables {
        for &v in &table.vars {
            held[v].push(table.clone());
        }
    }
    for _ in 0..ROUNDS {
        let mut moved = false;
        for var in 0..sizes.len() {
            let state = best(sizes, &held[var], states, var);
            let before = total(sizes, &held[var], states);
            let kept = std::mem::replace(&mut states[var], state);
            if total(sizes, &held[var], states) < before {
                moved = true;
            } else {
                states[var] = kept;
            }
        }
        if !moved {
            return;
        }
    }
}

/// Tables left, with the variables each still concerns.
struct Elimination<'s> {
    sizes: &'s [usize],
    tables: Vec<Option<Table>>,
    /// Tables that hold each variable, by index.
    held: Vec<Vec<usize>>,
    /// Open variables that share a table with each, sorted.
    around: Vec<Vec<usize>>,
    /// Variables left, those whose elimination fills in least first.
    queue: BTreeSet<(Score, usize)>,
    scores: Vec<Score>,
}

/// Pairs of neighbours that would come to share a table, and entries of the sum.
type Score = (usize, usize);

impl<'s> Elimination<'s> {
    fn new(sizes: &'s [usize], tables: Vec<Table>) -> Self {
        let mut work = Self {
            sizes,
            tables: Vec::new(),
            held: vec![Vec::new(); sizes.len()],
            around: vec![Vec::new(); sizes.len()],
            queue: BTreeSet::new(),
            scores: Vec::new(),
        };
        tables.into_iter().for_each(|t| work.add(t));
        work.around = (0..sizes.len()).map(|v| work.neighbours(v)).collect();
        work.scores = (0..sizes.len()).map(|v| work.score(v)).collect();
        let open = (0..sizes.len()).filter(|&v| sizes[v] > 1);
        work.queue = open.map(|v| (work.scores[v], v)).collect();
        work
    }

    fn add(&mut self, table: Table) {
        for &v in &table.vars {
            self.held[v].push(self.tables.len());
        }
        self.tables.push(Some(table));
    }

    /// What [`Elimination::around`] keeps.
    fn neighbours(&self, var: usize) -> Vec<usize> {
        let shared = self.held[var].iter().filter_map(|&t| self.tables[t].as_ref());
        let mut all: Vec<usize> = shared.flat_map(|t| t.vars.iter().copied()).filter(|&v| v != var).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn score(&self, var: usize) -> Score {
        let around = &self.around[var];
        let mut fill = 0;
        for (i, &a) in around.iter().enumerate() {
            let known = &self.around[a];
            fill += around[i + 1..].iter().filter(|b| known.binary_search(b).is_err()).count();
        }
        (fill, around.iter().fold(self.sizes[var], |n, &v| n.saturating_mul(self.sizes[v])))
    }

    fn most_connected(&self) -> usize {
        self.queue.iter().map(|&(_, v)| v).max_by_key(|&v| self.around[v].len()).unwrap_or_default()
    }

    /// Eliminates or fixes a variable: `make` gives the new tables for those that hold it.
    fn replace(&mut self, var: usize, make: impl FnOnce(&[usize], Vec<Table>) -> Vec<Table>) {
        let around = std::mem::take(&mut self.around[var]);
        let held = std::mem::take(&mut self.held[var]);
        let taken: Vec<Table> = held.iter().filter_map(|&t| self.tables[t].take()).collect();
        for &v in &around {
            self.held[v].retain(|&t| self.tables[t].is_some());
        }
        make(&around, taken).into_iter().for_each(|t| self.add(t));
        self.queue.remove(&(self.scores[var], var));
        for &v in &around {
            self.around[v] = self.neighbours(v);
        }
        // Fill changes as far as the neighbours' neighbours.
        let mut changed: Vec<usize> =
            around.iter().flat_map(|&v| &self.around[v]).chain(&around).copied().collect();
        changed.sort_unstable();
        changed.dedup();
        for v in changed {
            let score = self.score(v);
            if score != self.scores[v] {
                self.queue.remove(&(std::mem::replace(&mut self.scores[v], score), v));
                self.queue.insert((score, v));
            }
        }
    }

    /// Replaces the tables that hold `var` by their least sum over its states; gives their sum, `var` last.
    fn eliminate(&mut self, var: usize) -> Table {
        let (sizes, mut kept) = (self.sizes, None);
        self.replace(var, |around, tables| {
            let sum = add_up(sizes, [around, &[var]].concat(), &tables);
            let least = |costs: &[f64]| costs.iter().copied().fold(f64::INFINITY, f64::min);
            let costs = sum.costs.chunks(sizes[var]).map(least).collect();
            kept = Some(sum);
            vec![Table { vars: around.to_vec(), costs }]
        });
        kept.expect("made above")
    }

    /// Fixes a variable: its tables keep the entries of that state.
    fn fix(&mut self, var: usize, state: usize) {
        let sizes = self.sizes;
        let keep = |table: Table| {
            let vars: Vec<usize> = table.vars.iter().copied().filter(|&v| v != var).collect();
            let turned = add_up(sizes, [&vars[..], &[var]].concat(), &[table]);
            Table { vars, costs: turned.costs.chunks(sizes[var]).map(|c| c[state]).collect() }
        };
        self.replace(var, |_, tables| tables.into_iter().map(keep).collect());
    }
}

/// The sum of tables over `vars`, which hold all of theirs.
fn add_up(sizes: &[usize], vars: Vec<usize>, tables: &[Table]) -> Table {
    let entries = vars.iter().map(|&v| sizes[v]).product();
    let mut costs = vec![0.0; entries];
    for table in tables {
        let mut strides = vec![0; vars.len()];
        let mut stride = 1;
        for &v in table.vars.iter().rev() {
            let at = vars.iter().position(|&w| w == v).expect("a variable of the sum");
            strides[at] += stride;
            stride *= sizes[v];
        }
        let (mut states, mut from) = (vec![0; vars.len()], 0);
        for cost in &mut costs {
            *cost += table.costs[from];
            for d in (0..vars.len()).rev() {
                states[d] += 1;
                from += strides[d];
                if states[d] < sizes[vars[d]] {
                    break;
                }
                from -= strides[d] * states[d];
                states[d] = 0;
            }
        }
    }
    Table { vars, costs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Least cost over every combination.
    fn brute(sizes: &[usize], tables: &[Table]) -> f64 {
        let mut states = vec![0; sizes.len()];
        let mut least = f64::INFINITY;
        loop {
            least = least.min(total(sizes, tables, &states));
            let Some(d) = (0..sizes.len()).rev().find(|&d| states[d] + 1 < sizes[d]) else { return least };
            states[d] += 1;
            states[d + 1..].fill(0);
        }
    }

    fn table(sizes: &[usize], vars: Vec<usize>, seed: &mut u64) -> Table {
        let entries: usize = vars.iter().map(|&v| sizes[v]).product();
        let mut next = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 40) as f64
        };
        // One in eight is forbidden, never that of states 0.
        let mut cost =
            |i: usize| if (next() as u64).is_multiple_of(8) && i > 0 { f64::INFINITY } else { next() };
        Table { vars, costs: (0..entries).map(&mut cost).collect() }
    }

    /// Variables in a chain; some tables reach back over it.
    fn graph(sizes: &[usize], skips: &[(usize, usize)], mut seed: u64) -> Vec<Table> {
        let n = sizes.len();
        let mut tables: Vec<Table> = (0..n).map(|v| table(sizes, vec![v], &mut seed)).collect();
        tables.extend((1..n).map(|v| table(sizes, vec![v - 1, v], &mut seed)));
        for &(a, b) in skips {
            let (a, b) = (a.min(b), a.max(b));
            if a < b && b + 1 < n {
                tables.push(table(sizes, vec![a, b, b + 1], &mut seed));
            }
        }
        tables
    }

    fn sizes() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(1usize..4, 1..9)
    }

    proptest! {
        #[test]
        fn exact_where_tables_stay_narrow(
            sizes in sizes(),
            skips in prop::collection::vec((0usize..8, 0usize..8), 0..4),
            seed: u64,
        ) {
            let skips: Vec<_> = skips.iter().map(|&(a, b)| (a % sizes.len(), b % sizes.len())).collect();
            let tables = graph(&sizes, &skips, seed);
            let states = solve(&sizes, &tables, &vec![0; sizes.len()], WIDEST);
            prop_assert_eq!(total(&sizes, &tables, &states), brute(&sizes, &tables));
        }

        #[test]
        fn exact_on_trees_and_nested_skips_in_narrow_tables(sizes in sizes(), parents: Vec<u8>, seed: u64) {
            let mut seed = seed;
            let n = sizes.len();
            let parent = |v: usize| usize::from(parents.get(v).copied().unwrap_or_default()) % v;
            let tree: Vec<Table> = (1..n).map(|v| table(&sizes, vec![parent(v), v], &mut seed)).collect();
            let states = solve(&sizes, &tree, &vec![0; n], 9);
            prop_assert_eq!(total(&sizes, &tree, &states), brute(&sizes, &tree));
            // A U: level v meets level n - 1 - v again.
            let skips: Vec<_> = (0..n / 2).map(|v| (v, n - 1 - v)).collect();
            let u = graph(&sizes, &skips, seed);
            let states = solve(&sizes, &u, &vec![0; n], 243);
            prop_assert_eq!(total(&sizes, &u, &states), brute(&sizes, &u));
        }

        #[test]
        fn no_worse_than_the_start_where_tables_are_too_wide(
            sizes in sizes(),
            skips in prop::collection::vec((0usize..8, 0usize..8), 4..12),
            seed: u64,
        ) {
            let skips: Vec<_> = skips.iter().map(|&(a, b)| (a % sizes.len(), b % sizes.len())).collect();
            let tables = graph(&sizes, &skips, seed);
            let start = vec![0; sizes.len()];
            let states = solve(&sizes, &tables, &start, 4);
            let (found, least) = (total(&sizes, &tables, &states), brute(&sizes, &tables));
            prop_assert!(found >= least && found <= total(&sizes, &tables, &start), "{found} for {least}");
        }
    }

    #[test]
    fn long_chains_take_linear_time() {
        let sizes = vec![3; 20_000];
        let tables = graph(&sizes, &[], 1);
        let states = solve(&sizes, &tables, &vec![0; sizes.len()], WIDEST);
        assert!(total(&sizes, &tables, &states).is_finite());
    }
}
