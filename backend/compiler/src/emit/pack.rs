//! Weights and column arrays in the packed formats.

use tandem_kernels::panels;
use tandem_schemas::program::{Format, OpKindT};

use crate::error::Reason;
use crate::graph::Graph;
use crate::tensor::Tensor;

/// How an op's output columns lie in its panels.
pub(super) struct Columns {
    /// Groups of columns with panels of their own.
    groups: usize,
    /// Columns of one group.
    each: usize,
    /// Whether groups are the parities of a pixel shuffle: ATen's column is `each * groups` + group.
    interleaved: bool,
    format: Format,
}

impl Columns {
    pub fn of(kind: &OpKindT, graph: &Graph<'_>) -> Self {
        let rows = |weight: i32| graph.value(weight).shape.clone();
        let plain = |each| Self { groups: 1, each, interleaved: false, format: Format::Panels };
        match kind {
            OpKindT::Conv(op) => {
                let parities = (op.shuffle * op.shuffle) as usize;
                let groups = op.groups as usize * parities;
                Self { groups, interleaved: parities > 1, ..plain(rows(op.weight)[0] / groups) }
            }
            OpKindT::Depthwise(op) => Self { format: Format::DepthwisePanels, ..plain(rows(op.weight)[0]) },
            OpKindT::ConvTranspose(op) => Self { groups: op.groups as usize, ..plain(rows(op.weight)[1]) },
            OpKindT::Linear(op) => plain(rows(op.weight)[0]),
            OpKindT::MatMul(op) => plain(graph.shape(op.b).last().copied().unwrap_or(1)),
            _ => plain(0),
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Panels of one k a row as panels of words of two k, each tap of a source in words of its own.
    pub fn words(&self, kind: &OpKindT, graph: &Graph<'_>, panels: &[f32]) -> Vec<f32> {
        let channels: Vec<usize> = match kind {
            OpKindT::Conv(op) => op.src.iter().map(|&s| graph.shape(s)[1] / op.groups as usize).collect(),
            OpKindT::Linear(op) => vec![graph.shape(op.weight)[1]],
            _ => vec![],
        };
        let mut words = Vec::with_capacity(panels.len());
        let mut rows = panels;
        let k = panels.len() / (self.groups * panels::padded(self.each)).max(1);
        let taps = k / channels.iter().sum::<usize>().max(1);
        for panel in (0..self.groups).flat_map(|_| 0..panels::count(self.each)) {
            let width = panels::width(self.each, panel);
            for &channels in (0..taps).flat_map(|_| &channels) {
                let (segment, rest) = rows.split_at(channels * width);
                for pair in segment.chunks(2 * width) {
                    let (first, second) = pair.split_at(width);
                    words.extend(
                        (0..width).flat_map(|i| [first[i], second.get(i).copied().unwrap_or_default()]),
                    );
                }
                rows = rest;
            }
        }
        words
    }

    /// ATen's number of column `column` of `group`.
    fn index(&self, group: usize, column: usize) -> usize {
        if self.interleaved { column * self.groups + group } else { group * self.each + column }
    }

    /// One number per column, each group padded to whole panels.
    pub fn pack(&self, array: &[f32]) -> Vec<f32> {
        let width = panels::padded(self.each);
        let mut packed = vec![0.0; self.groups * width];
        for group in 0..self.groups {
            for column in 0..self.each {
                packed[group * width + column] = array[self.index(group, column)];
            }
        }
        packed
    }
}

/// An op's weight as the panels its family reads.
pub(super) fn weight(kind: &OpKindT, tensor: &Tensor<'_>) -> Result<Vec<f32>, Reason> {
    let w = &*tensor.f32();
    match (kind, &tensor.shape[..]) {
        (OpKindT::Linear(_), &[n, k]) => Ok(panels::pack(k, n, |row, column| w[column * k + row])),
        (OpKindT::Depthwise(_), &[c, _, kh, kw]) => {
            let taps = kh * kw;
            Ok(panels::pack(taps, c, |tap, column| w[column * taps + tap]))
        }
        (OpKindT::Conv(op), &[o, i, kh, kw]) => {
            let parities = (op.shuffle * op.shuffle) as usize;
            let groups = op.groups as usize * parities;
            let columns =
                Columns { groups, each: o / groups, interleaved: parities > 1, format: Format::Panels };
            Ok(conv(w, &columns, i, kh * kw))
        }
        (OpKindT::ConvTranspose(op), &[i, o, kh, kw]) => {
            let step = [op.stride[0] as usize, op.stride[1] as usize];
            let dilation = [op.dilation[0] as usize, op.dilation[1] as usize];
            let deconv = Deconv { groups: op.groups as usize, shape: [i, o, kh, kw], step, dilation };
            Ok(deconv.pack(w))
        }
        (_, shape) => Err(format!("weight {shape:?} has no packed form")),
    }
}

/// Panels with k in the order (kernel y, kernel x, channel), from ATen's `[o, i, ky, kx]`.
fn conv(w: &[f32], columns: &Columns, channels: usize, taps: usize) -> Vec<f32> {
    let k = taps * channels;
    let mut packed = Vec::with_capacity(k * columns.groups * panels::padded(columns.each));
    for group in 0..columns.groups {
        packed.extend(panels::pack(k, columns.each, |row, column| {
            let (tap, channel) = (row / channels, row % channels);
            w[(columns.index(group, column) * channels + channel) * taps + tap]
        }));
    }
    packed
}

struct Deconv {
    groups: usize,
    /// `[i, o / groups, ky, kx]`
    shape: [usize; 4],
    step: [usize; 2],
    dilation: [usize; 2],
}

impl Deconv {
    /// For each group and output parity panels with k in the order (ky, kx, channel), over the taps of that parity.
    fn pack(&self, w: &[f32]) -> Vec<f32> {
        let [i, o, kh, kw] = self.shape;
        let channels = i / self.groups;
        let mut packed = Vec::with_capacity(kh * kw * i * panels::padded(o));
        for group in 0..self.groups {
            for py in 0..self.step[0] {
                for px in 0..self.step[1] {
                    let taps: Vec<usize> = self
                        .taps(0, py)
                        .flat_map(|ky| self.taps(1, px).map(move |kx| ky * kw + kx))
                        .collect();
                    packed.extend(panels::pack(taps.len() * channels, o, |row, column| {
                        let (tap, channel) = (taps[row / channels], group * channels + row % channels);
                        w[(channel * o + column) * kh * kw + tap]
                    }));
                }
            }
        }
        packed
    }

    fn taps(&self, axis: usize, parity: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.shape[2 + axis]).filter(move |t| t * self.dilation[axis] % self.step[axis] == parity)
    }
}
