//! Uniform access to the payloads.

use tandem_schemas::program::{ActT, Activation, EpilogueT, OpKindT, UnaryKind};

use super::ValueId;

/// What a tensor field of a payload means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A tensor the op reads.
    Source,
    /// Packed in panels when emitted.
    Weight,
    /// One number per output column, in panel order when emitted.
    Column,
    /// One number per channel or normalised element.
    Plain,
}

/// A schema table with fields set; outside their crate these tables have no literal form.
pub(crate) fn table<T: Default>(set: impl FnOnce(&mut T)) -> Box<T> {
    let mut table = Box::<T>::default();
    set(&mut table);
    table
}

pub(crate) fn activation(kind: Activation, a: f32, b: f32) -> ActT {
    let mut act = ActT::default();
    (act.kind, act.a, act.b) = (kind, a, b);
    act
}

/// Sizes as payloads store them; the caller has bounded them.
pub(crate) fn u32s(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().map(|&s| s as u32).collect()
}

macro_rules! visitor {
    ($(#[$doc:meta])* $name:ident, $optional:ident $(, $mutable:tt)?) => {
        $(#[$doc])*
        pub(crate) fn $name(kind: &$($mutable)? OpKindT, mut see: impl FnMut(Role, &$($mutable)? ValueId)) {
            use OpKindT as K;
            use Role::{Column, Plain, Source, Weight};
            let mut see = |role, id: &$($mutable)? ValueId| {
                if *id >= 0 {
                    see(role, id);
                }
            };
            macro_rules! fields {
                ($op:expr, $role:expr, $field:ident) => { see($role, &$($mutable)? $op.$field) };
            }
            let epilogue = match kind {
                K::Conv(op) => {
                    for src in &$($mutable)? op.src {
                        see(Source, src);
                    }
                    fields!(op, Weight, weight);
                    op.epilogue.$optional()
                }
                K::Depthwise(op) => {
                    fields!(op, Source, src);
                    fields!(op, Weight, weight);
                    op.epilogue.$optional()
                }
                K::ConvTranspose(op) => {
                    fields!(op, Source, src);
                    fields!(op, Weight, weight);
                    op.epilogue.$optional()
                }
                K::Linear(op) => {
                    fields!(op, Source, src);
                    fields!(op, Weight, weight);
                    op.epilogue.$optional()
                }
                K::MatMul(op) => {
                    fields!(op, Source, a);
                    fields!(op, Source, b);
                    op.epilogue.$optional()
                }
                K::Attention(op) => {
                    fields!(op, Source, q);
                    fields!(op, Source, k);
                    fields!(op, Source, v);
                    fields!(op, Source, mask);
                    None
                }
                K::Norm(op) => {
                    fields!(op, Source, src);
                    fields!(op, Plain, scale);
                    fields!(op, Plain, shift);
                    None
                }
                K::Affine(op) => {
                    fields!(op, Source, src);
                    fields!(op, Plain, scale);
                    fields!(op, Plain, shift);
                    None
                }
                K::Binary(op) => {
                    fields!(op, Source, a);
                    fields!(op, Source, b);
                    None
                }
                K::Select(op) => {
                    fields!(op, Source, cond);
                    fields!(op, Source, a);
                    fields!(op, Source, b);
                    None
                }
                K::Concat(op) => {
                    for src in &$($mutable)? op.src {
                        see(Source, src);
                    }
                    None
                }
                K::Pool(op) => { fields!(op, Source, src); None }
                K::AdaptivePool(op) => { fields!(op, Source, src); None }
                K::Reduce(op) => { fields!(op, Source, src); None }
                K::Softmax(op) => { fields!(op, Source, src); None }
                K::Unary(op) => { fields!(op, Source, src); None }
                K::Resize(op) => { fields!(op, Source, src); None }
                K::Pad(op) => { fields!(op, Source, src); None }
                K::Reshape(op) => { fields!(op, Source, src); None }
                K::Permute(op) => { fields!(op, Source, src); None }
                K::Slice(op) => { fields!(op, Source, src); None }
                K::Expand(op) => { fields!(op, Source, src); None }
                K::PixelShuffle(op) => { fields!(op, Source, src); None }
                K::Scan(op) => { fields!(op, Source, src); None }
                K::ArgSort(op) => { fields!(op, Source, src); None }
                K::Gather(op) => {
                    fields!(op, Source, src);
                    fields!(op, Source, index);
                    None
                }
                K::GridSample(op) => {
                    fields!(op, Source, src);
                    fields!(op, Source, grid);
                    None
                }
                K::Scatter(op) => {
                    fields!(op, Source, src);
                    fields!(op, Source, index);
                    fields!(op, Source, value);
                    None
                }
                _ => None,
            };
            if let Some(epilogue) = epilogue {
                fields!(epilogue, Column, bias);
                fields!(epilogue, Column, scale);
                fields!(epilogue, Column, shift);
                fields!(epilogue, Source, residual);
            }
        }
    };
}

visitor!(
    /// Shows every tensor field that is set.
    visit, as_ref
);
visitor!(
    /// Shows every tensor field that is set, to be changed.
    visit_mut, as_mut, mut
);

/// Every value an op reads, in the order of its fields.
pub(crate) fn sources(kind: &OpKindT) -> Vec<ValueId> {
    let mut ids = vec![];
    visit(kind, |_, id| ids.push(*id));
    ids
}

/// Whether an op moves elements, of whichever dtype.
pub(crate) fn moves(kind: &OpKindT) -> bool {
    use OpKindT as K;
    matches!(
        kind,
        K::Reshape(_)
            | K::Permute(_)
            | K::Slice(_)
            | K::Expand(_)
            | K::Concat(_)
            | K::PixelShuffle(_)
            | K::Pad(_)
    )
}

/// The epilogue of an op that has one.
pub(crate) fn epilogue(kind: &OpKindT) -> Option<&EpilogueT> {
    match kind {
        OpKindT::Conv(op) => op.epilogue.as_deref(),
        OpKindT::Depthwise(op) => op.epilogue.as_deref(),
        OpKindT::ConvTranspose(op) => op.epilogue.as_deref(),
        OpKindT::Linear(op) => op.epilogue.as_deref(),
        OpKindT::MatMul(op) => op.epilogue.as_deref(),
        _ => None,
    }
}

/// The epilogue of an op that has one, to be changed.
pub(crate) fn epilogue_mut(kind: &mut OpKindT) -> Option<&mut EpilogueT> {
    match kind {
        OpKindT::Conv(op) => op.epilogue.as_deref_mut(),
        OpKindT::Depthwise(op) => op.epilogue.as_deref_mut(),
        OpKindT::ConvTranspose(op) => op.epilogue.as_deref_mut(),
        OpKindT::Linear(op) => op.epilogue.as_deref_mut(),
        OpKindT::MatMul(op) => op.epilogue.as_deref_mut(),
        _ => None,
    }
}

/// The activation of an op that is nothing else.
pub(crate) fn as_activation(kind: &OpKindT) -> Option<ActT> {
    match kind {
        OpKindT::Unary(op) if op.kind == UnaryKind::Activation => op.act.clone(),
        _ => None,
    }
}
