//! Recurrent layers. One linear layer computes the input's part of the gates for all steps; each step adds the hidden
//! state's part to it, as the residual of a linear layer of its own.

use tandem_schemas::program::{Activation, BinaryKind, OpKindT};

use super::activation::activation_of;
use super::binary::binary;
use super::concat::concat_of;
use super::linear::linear_of;
use super::view::slice_of;
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::ValueId;
use crate::import::Call;
use crate::tensor::{Tensor, elements};

pub(super) const OPS: &[Row] = &[
    ("aten.lstm.input", |c| recurrent(c, Cell::Lstm)),
    ("aten.gru.input", |c| recurrent(c, Cell::Gru)),
    ("aten.rnn_tanh.input", |c| recurrent(c, Cell::Plain(Activation::Tanh))),
    ("aten.rnn_relu.input", |c| recurrent(c, Cell::Plain(Activation::Relu))),
];

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Lstm,
    Gru,
    Plain(Activation),
}

impl Cell {
    /// ATen's gates behind a sigmoid, and the one that is the candidate for the next state.
    fn gates(self) -> (&'static [usize], usize) {
        match self {
            Cell::Lstm => (&[0, 1, 3], 2),
            Cell::Gru => (&[0, 1], 2),
            Cell::Plain(_) => (&[], 0),
        }
    }
}

/// Values `[steps, batch, ..]`; with the first two the other way round where `time` is 1.
#[derive(Clone, Copy)]
struct Sequence {
    steps: usize,
    batch: usize,
    time: usize,
    /// Width of the hidden state.
    hidden: usize,
}

impl Sequence {
    fn shape(&self, steps: usize, width: usize) -> [usize; 3] {
        if self.time == 0 { [steps, self.batch, width] } else { [self.batch, steps, width] }
    }
}

fn recurrent(call: &mut Call<'_, '_>, cell: Cell) -> Result<(), Reason> {
    call.refuse("train")?;
    let (src, params) = (call.tensor("input")?, call.constants("params")?);
    let states = if cell == Cell::Lstm { call.tensors("hx")? } else { vec![call.tensor("hx")?] };
    let (layers, directions) = (call.int("num_layers")?, if call.flag("bidirectional")? { 2 } else { 1 });
    let count = usize::try_from(layers).map_or(0, |layers| layers.saturating_mul(directions));
    let each = if call.flag("has_biases")? { 4 } else { 2 };
    let Some(&hidden) = states.first().and_then(|&s| call.shape(s).last()) else {
        return Err("has no hidden state".into());
    };
    if count == 0 || count.checked_mul(each) != Some(params.len()) {
        return Err(format!("{} parameters for {layers} layers in {directions} directions", params.len()));
    }
    let (sequence, mut x) = sequence(call, src, hidden)?;
    let mut last = vec![vec![]; states.len()];
    for layer in 0..count / directions {
        let mut outputs = vec![];
        for direction in 0..directions {
            let at = layer * directions + direction;
            let weights = Weights::of(call, cell, hidden, &params[at * each..][..each])?;
            let mut state = vec![];
            for &initial in &states {
                state.push(row(call, initial, at, &[sequence.batch, hidden])?);
            }
            outputs.push(run(call, cell, (sequence, x), &weights, &mut state, direction == 1)?);
            for (last, state) in last.iter_mut().zip(state) {
                last.push(reshaped(call, state, &[1, sequence.batch, hidden])?);
            }
        }
        let shape = sequence.shape(sequence.steps, directions * hidden);
        x = call.temp(&shape, concat_of(outputs, 2))?;
    }
    call.emit_at(0, reshape(x))?;
    for (i, last) in last.into_iter().enumerate() {
        let whole = call.temp(&[count, sequence.batch, hidden], concat_of(last, 0))?;
        call.emit_at(1 + i, reshape(whole))?;
    }
    Ok(())
}

/// The call's sequences, and its input as one of them: without a batch it is given one.
fn sequence(call: &mut Call<'_, '_>, src: ValueId, hidden: usize) -> Result<(Sequence, ValueId), Reason> {
    let (shape, time) = (call.shape(src).to_vec(), usize::from(call.flag("batch_first")?));
    match shape[..] {
        [steps, width] => {
            let x = reshaped(call, src, &[steps, 1, width])?;
            Ok((Sequence { steps, batch: 1, time: 0, hidden }, x))
        }
        [_, _, _] => Ok((Sequence { steps: shape[time], batch: shape[1 - time], time, hidden }, src)),
        _ => Err(format!("input {shape:?} is no sequence")),
    }
}

/// Index `at` of a value's first dimension, in another shape.
fn row(call: &mut Call<'_, '_>, value: ValueId, at: usize, shape: &[usize]) -> Result<ValueId, Reason> {
    let mut one = call.shape(value).to_vec();
    one[0] = 1;
    let row = call.temp(&one, slice_of(value, 0, at as i64, 1))?;
    reshaped(call, row, shape)
}

/// Parameters of a layer in one direction; gates behind a sigmoid come first, the candidate last.
struct Weights {
    input: [ValueId; 2],
    /// Of the gates behind a sigmoid; their bias is the input's.
    gates: ValueId,
    candidate: [ValueId; 2],
    rows: usize,
}

impl Weights {
    fn of(call: &mut Call<'_, '_>, cell: Cell, hidden: usize, params: &[Tensor<'_>]) -> Result<Self, Reason> {
        let (gates, candidate) = cell.gates();
        let rows = (gates.len() + 1) * hidden;
        let fits = |p: &Tensor<'_>| p.shape.first() == Some(&rows);
        if !params.iter().all(fits) || params[1].shape != [rows, hidden] || params[0].shape.len() != 2 {
            let shapes: Vec<_> = params.iter().map(|p| &p.shape).collect();
            return Err(format!("parameters {shapes:?} for a hidden state of {hidden}"));
        }
        let order = [gates, &[candidate]].concat();
        let [mut bias, mut hidden_bias] = [-1; 2];
        if let [of_input, of_hidden] = &params[2..] {
            let [mut of_input, mut of_hidden] =
                [of_input, of_hidden].map(|b| blocks(b, &order, hidden).f32().into_owned());
            // What a GRU's reset gate scales includes the bias.
            let apart = if cell == Cell::Gru { of_hidden.split_off(gates.len() * hidden) } else { vec![] };
            of_input.iter_mut().zip(&of_hidden).for_each(|(a, b)| *a += b);
            bias = call.add_constant("bias", Tensor::vector(of_input));
            if !apart.is_empty() {
                hidden_bias = call.add_constant("candidate.bias", Tensor::vector(apart));
            }
        }
        let input = call.add_constant("input", blocks(&params[0], &order, hidden));
        let sigmoids = call.add_constant("gates", blocks(&params[1], gates, hidden));
        let candidate = call.add_constant("candidate", blocks(&params[1], &[candidate], hidden));
        Ok(Self { input: [input, bias], gates: sigmoids, candidate: [candidate, hidden_bias], rows })
    }
}

/// Blocks of `size` rows in another order.
fn blocks<'a>(tensor: &Tensor<'_>, order: &[usize], size: usize) -> Tensor<'a> {
    let block = size * elements(&tensor.shape[1..]);
    let data = tensor.f32();
    let data = order.iter().flat_map(|&i| data[i * block..][..block].to_vec()).collect();
    Tensor::owned(&[&[order.len() * size], &tensor.shape[1..]].concat(), data)
}

/// All steps of a layer in one direction: its outputs; `state` becomes the last.
fn run(
    call: &mut Call<'_, '_>,
    cell: Cell,
    (sequence, x): (Sequence, ValueId),
    weights: &Weights,
    state: &mut [ValueId],
    backwards: bool,
) -> Result<ValueId, Reason> {
    let Sequence { steps, batch, time, hidden } = sequence;
    let [weight, bias] = weights.input;
    let inputs = call.temp(&sequence.shape(steps, weights.rows), linear_of(x, weight, bias))?;
    let mut outputs = vec![-1; steps];
    for i in 0..steps {
        let at = if backwards { steps - 1 - i } else { i };
        let input = call.temp(&sequence.shape(1, weights.rows), slice_of(inputs, time, at as i64, 1))?;
        let input = reshaped(call, input, &[batch, weights.rows])?;
        Step { call, batch, hidden }.run(cell, weights, input, state)?;
        outputs[at] = reshaped(call, state[0], &sequence.shape(1, hidden))?;
    }
    call.temp(&sequence.shape(steps, hidden), concat_of(outputs, time))
}

/// One step of a cell, on values `[batch, hidden]`.
struct Step<'s, 'i, 'a> {
    call: &'s mut Call<'i, 'a>,
    batch: usize,
    hidden: usize,
}

impl Step<'_, '_, '_> {
    /// From the input's part of the gates to the next state: h, and c of an LSTM.
    fn run(mut self, cell: Cell, w: &Weights, input: ValueId, state: &mut [ValueId]) -> Result<(), Reason> {
        let h = state[0];
        let sigmoids = cell.gates().0.len();
        let own = self.columns(input, sigmoids, 1)?;
        let [weight, bias] = w.candidate;
        let candidate = self.value(1, linear_of(h, weight, bias))?;
        if let Cell::Plain(act) = cell {
            let sum = self.binary(BinaryKind::Add, candidate, own)?;
            state[0] = self.act(1, sum, act)?;
            return Ok(());
        }
        let shared = self.columns(input, 0, sigmoids)?;
        let product = self.value(sigmoids, linear_of(h, w.gates, -1))?;
        let sum = self.value(sigmoids, binary(product, shared, BinaryKind::Add, 1.0))?;
        let gates = self.act(sigmoids, sum, Activation::Sigmoid)?;
        let [first, second] = [self.columns(gates, 0, 1)?, self.columns(gates, 1, 1)?];
        if cell == Cell::Gru {
            let (reset, update) = (first, second);
            let candidate = self.binary(BinaryKind::Mul, reset, candidate)?;
            let candidate = self.binary(BinaryKind::Add, candidate, own)?;
            let candidate = self.act(1, candidate, Activation::Tanh)?;
            let change = self.binary(BinaryKind::Sub, h, candidate)?;
            let change = self.binary(BinaryKind::Mul, update, change)?;
            state[0] = self.binary(BinaryKind::Add, candidate, change)?;
            return Ok(());
        }
        let (input, forget, output) = (first, second, self.columns(gates, 2, 1)?);
        let candidate = self.binary(BinaryKind::Add, candidate, own)?;
        let candidate = self.act(1, candidate, Activation::Tanh)?;
        let kept = self.binary(BinaryKind::Mul, forget, state[1])?;
        let new = self.binary(BinaryKind::Mul, input, candidate)?;
        state[1] = self.binary(BinaryKind::Add, kept, new)?;
        let seen = self.act(1, state[1], Activation::Tanh)?;
        state[0] = self.binary(BinaryKind::Mul, output, seen)?;
        Ok(())
    }

    /// A value of so many gates.
    fn value(&mut self, gates: usize, kind: OpKindT) -> Result<ValueId, Reason> {
        self.call.temp(&[self.batch, gates * self.hidden], kind)
    }

    fn columns(&mut self, value: ValueId, first: usize, gates: usize) -> Result<ValueId, Reason> {
        self.value(gates, slice_of(value, 1, (first * self.hidden) as i64, 1))
    }

    fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, Reason> {
        self.value(1, binary(a, b, kind, 1.0))
    }

    fn act(&mut self, gates: usize, src: ValueId, kind: Activation) -> Result<ValueId, Reason> {
        self.value(gates, activation_of(src, kind, 0.0, 0.0))
    }
}
