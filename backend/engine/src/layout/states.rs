//! States of values and their cost tables: where a value is written, and the one other layout it may be copied to.
//!
//! Every op that reads the value takes whichever of the two is cheaper for it, so a copy is paid once and shared. An
//! op's table is over the states of its operands, a value's own has its conversion.

use super::choices::Choices;
use super::explain;
use super::prices::{Price, advance, conversion_ns};
use super::solve::{self, Table, WIDEST};
use super::{Assignment, is_dense};
use crate::plan::Planner;

/// Candidates a value lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Where it is written.
    pub home: usize,
    /// Where a copy lies.
    pub copy: Option<usize>,
}

/// Cost tables over the states of all values.
pub(crate) struct Graph<'g> {
    pub choices: &'g [Choices],
    pub prices: &'g [Price],
    /// States of every value, the rule's first.
    pub states: Vec<Vec<State>>,
    sizes: Vec<usize>,
    /// Cost of the conversion of every value's states.
    conversions: Vec<Vec<f64>>,
    /// A table for each price.
    tables: Vec<Table>,
}

impl<'g> Graph<'g> {
    pub fn new(planner: &Planner<'_>, choices: &'g [Choices], prices: &'g [Price]) -> Self {
        let (states, sizes, conversions) = (Vec::new(), Vec::new(), Vec::new());
        let mut graph = Self { choices, prices, states, sizes, conversions, tables: Vec::new() };
        let mut readers = vec![Vec::new(); choices.len()];
        for price in prices {
            for (i, &v) in price.values[..price.values.len() - 1].iter().enumerate() {
                readers[v].push((price, i));
            }
        }
        for (v, choice) in choices.iter().enumerate() {
            let ns =
                |from: usize, to: usize| conversion_ns(planner, v, choice.layouts[from], choice.layouts[to]);
            let (states, costs): (Vec<_>, Vec<_>) = reachable(choice, &readers[v], ns).into_iter().unzip();
            graph.sizes.push(states.len());
            graph.states.push(states);
            graph.conversions.push(costs);
        }
        graph.tables = prices.iter().map(|price| graph.table(price)).collect();
        graph
    }

    /// An op's costs over the states of those of its operands that have several.
    fn table(&self, price: &Price) -> Table {
        let vars: Vec<usize> = price.values.iter().copied().filter(|&v| self.sizes[v] > 1).collect();
        let sizes: Vec<usize> = vars.iter().map(|&v| self.sizes[v]).collect();
        let mut at = vec![0; vars.len()];
        let mut pick = Pick::of(price);
        let costs = (0..sizes.iter().product()).map(|_| {
            let state = |v: usize| {
                let place = vars.iter().position(|&w| w == v);
                self.states[v][place.map_or(0, |place| at[place])]
            };
            let cost = pick.cheapest(state);
            advance(&mut at, &sizes);
            cost
        });
        let costs = costs.collect();
        Table { vars, costs }
    }

    /// States of least total cost.
    pub fn least(&self) -> Vec<usize> {
        let own = |(v, costs): (usize, &Vec<f64>)| Table { vars: vec![v], costs: costs.clone() };
        let own = self.conversions.iter().enumerate().filter(|(_, costs)| costs.len() > 1).map(own);
        let tables: Vec<Table> = self.tables.iter().cloned().chain(own).collect();
        solve::solve(&self.sizes, &tables, &self.greedy(), WIDEST)
    }

    /// The rule's states, with a copy wherever one op gains by it, looked at in order.
    pub fn greedy(&self) -> Vec<usize> {
        let mut states = vec![0; self.sizes.len()];
        for (price, table) in self.prices.iter().zip(&self.tables) {
            for (i, &v) in price.values.iter().enumerate() {
                let writes = i + 1 == price.values.len();
                let now = self.states[v][states[v]];
                let mut best = (f64::INFINITY, states[v]);
                for (at, state) in self.states[v].iter().enumerate() {
                    let kept = state.home == now.home && (now.copy.is_none() || state.copy == now.copy);
                    if *state != now && !(kept || writes && state.copy == Some(now.home)) {
                        continue;
                    }
                    states[v] = at;
                    let cost = table.at(&self.sizes, &states) + self.conversions[v][at];
                    if cost < best.0 || cost == best.0 && *state == now {
                        best = (cost, at);
                    }
                }
                states[v] = best.1;
            }
        }
        states
    }

    /// Layouts by states.
    pub fn assignment(&self, planner: &Planner<'_>, states: &[usize]) -> Assignment {
        let state = |v: usize| self.states[v][states[v]];
        let homes =
            self.choices.iter().enumerate().map(|(v, choice)| choice.layouts[state(v).home]).collect();
        let mut copies = vec![Vec::new(); planner.model.ops.len()];
        for price in self.prices {
            let picks = cheapest(price, state).1;
            let reads = picks.iter().zip(&price.values).take(price.values.len() - 1);
            for (&pick, &v) in reads.filter(|&(&pick, &v)| state(v).copy == Some(pick)) {
                copies[price.op].push((v, self.choices[v].layouts[pick]));
            }
        }
        let values = explain::values(self, planner.model, states);
        Assignment { homes, copies, values }
    }
}

/// An op's least cost where its operands have given states, and the candidates it then takes.
pub(crate) fn cheapest(price: &Price, state: impl Fn(usize) -> State) -> (f64, Vec<usize>) {
    let mut pick = Pick::of(price);
    let ns = pick.cheapest(state);
    (ns, pick.best)
}

/// Candidates an op takes, state by state.
struct Pick<'p> {
    price: &'p Price,
    states: Vec<State>,
    /// Operands read from their copies.
    copies: Vec<bool>,
    picks: Vec<usize>,
    best: Vec<usize>,
}

impl<'p> Pick<'p> {
    fn of(price: &'p Price) -> Self {
        let n = price.values.len();
        Self {
            price,
            states: Vec::with_capacity(n),
            copies: vec![false; n],
            picks: vec![0; n],
            best: vec![0; n],
        }
    }

    /// The least cost, for the candidates left in `best`.
    fn cheapest(&mut self, state: impl Fn(usize) -> State) -> f64 {
        let last = self.price.values.len() - 1;
        self.states.clear();
        self.states.extend(self.price.values.iter().map(|&v| state(v)));
        self.copies.fill(false);
        let mut least = None;
        loop {
            for (i, (state, copy)) in self.states.iter().zip(&self.copies).enumerate() {
                self.picks[i] = state.copy.filter(|_| *copy).unwrap_or(state.home);
            }
            let ns = self.price.at(&self.picks);
            if least.is_none_or(|least| ns < least) {
                least = Some(ns);
                self.best.copy_from_slice(&self.picks);
            }
            // The next of all ways to read from copies, the last operand fastest.
            let next = (0..last).rev().find(|&i| self.states[i].copy.is_some() && !self.copies[i]);
            let Some(next) = next else { return least.unwrap_or(f64::INFINITY) };
            self.copies[next..].fill(false);
            self.copies[next] = true;
        }
    }
}

/// The states of a value with the cost of their conversion: those whose copy the host or an op can gain by.
fn reachable(
    choice: &Choices,
    readers: &[(&Price, usize)],
    ns: impl Fn(usize, usize) -> f64,
) -> Vec<(State, f64)> {
    let mut all = Vec::new();
    for home in 0..choice.homes {
        if choice.host.is_none_or(|host| host == home) {
            all.push((State { home, copy: None }, 0.0));
        }
        let dense = |&copy: &usize| copy != home && is_dense(&choice.layouts[copy]);
        for copy in (0..choice.layouts.len()).filter(dense) {
            let cost = ns(home, copy);
            let wanted = match choice.host {
                Some(host) if host != home => host == copy,
                _ => readers.iter().map(|&(price, i)| gain(price, i, home, copy)).sum::<f64>() > cost,
            };
            if wanted {
                all.push((State { home, copy: Some(copy) }, cost));
            }
        }
    }
    all
}

/// Most that an op gains by reading its operand `i` in one candidate instead of another.
fn gain(price: &Price, i: usize, from: usize, to: usize) -> f64 {
    let mut picks = vec![0; price.sizes.len()];
    let mut most = 0f64;
    for _ in 0..price.ns.len() {
        if picks[i] == 0 {
            let mut with = |candidate: usize| {
                picks[i] = candidate;
                let ns = price.at(&picks);
                picks[i] = 0;
                ns
            };
            let (before, after) = (with(from), with(to));
            if after.is_finite() {
                most = most.max(before - after);
            }
        }
        advance(&mut picks, &price.sizes);
    }
    most
}
