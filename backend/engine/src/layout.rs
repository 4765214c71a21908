//! Which order of axes each value is stored in.
//!
//! A rule for now: images around spatial operators are channels-last, element-wise operators follow their operands,
//! everything else is row-major, and what the host sees is in the host's order. Views take what their source has.

use tandem_base::Strided;
use tandem_schemas::program::OpKindT;

use crate::model::Model;

/// Order of a value's axes, outermost first.
pub type Order = Vec<u8>;

/// Channels-last of a rank: the channel axis innermost.
pub fn channels_last(rank: usize) -> Order {
    std::iter::once(0).chain(2..rank as u8).chain(std::iter::once(1)).collect()
}

/// Row-major of a rank.
pub fn row_major(rank: usize) -> Order {
    (0..rank as u8).collect()
}

/// An order for every value; ops and values have been index-checked by [`crate::operands`].
pub fn assign(model: &Model) -> Vec<Order> {
    let mut orders: Vec<Order> = model.values.iter().map(|v| v.dim_order.clone()).collect();
    for op in &model.ops {
        let follow = |i: i32, orders: &[Order]| {
            usize::try_from(i).ok().and_then(|i| orders.get(i)).cloned().unwrap_or_default()
        };
        for &out in &op.outputs {
            let Some(out) = usize::try_from(out).ok().filter(|&o| o < orders.len()) else { continue };
            let rank = model.values[out].sizes.len();
            let order = match &op.kind {
                OpKindT::Conv(_)
                | OpKindT::Depthwise(_)
                | OpKindT::ConvTranspose(_)
                | OpKindT::Pool(_)
                | OpKindT::AdaptivePool(_)
                | OpKindT::Resize(_)
                | OpKindT::PixelShuffle(_)
                    if rank >= 3 =>
                {
                    channels_last(rank)
                }
                // Heads side by side in a token's row: what the next linear layer reads.
                OpKindT::Attention(_) if rank == 4 => vec![0, 2, 1, 3],
                OpKindT::Unary(o) => follow(o.src, &orders),
                OpKindT::Affine(o) => follow(o.src, &orders),
                OpKindT::Norm(o) => follow(o.src, &orders),
                OpKindT::Softmax(o) => follow(o.src, &orders),
                OpKindT::Pad(o) => follow(o.src, &orders),
                OpKindT::Slice(o) => follow(o.src, &orders),
                OpKindT::Reduce(o) => follow(o.src, &orders),
                OpKindT::Concat(o) => o.src.first().map_or_else(Vec::new, |&s| follow(s, &orders)),
                OpKindT::Binary(o) => {
                    let (a, b) = (follow(o.a, &orders), follow(o.b, &orders));
                    let bigger =
                        |i: i32| usize::try_from(i).map_or(0, |i| model.values[i].sizes.iter().product());
                    if bigger(o.b) > bigger(o.a) { b } else { a }
                }
                OpKindT::Permute(o) => {
                    // The source's order, renamed.
                    let src = follow(o.src, &orders);
                    let place = |d: u8| o.order.iter().position(|&x| x == u32::from(d)).map(|p| p as u8);
                    src.into_iter().map_while(place).collect()
                }
                _ => row_major(rank),
            };
            orders[out] = if order.len() == rank { order } else { row_major(rank) };
        }
    }
    orders
}

/// Short text of a layout for profiles: axis letters outermost first, `*` where strides leave gaps.
pub fn describe(shape: &Strided) -> String {
    let rank = shape.rank();
    let letters: &[u8] = match rank {
        4 => b"nchw",
        3 => b"ntc",
        2 => b"mn",
        _ => b"abcdefgh",
    };
    let mut axes: Vec<usize> = (0..rank).collect();
    axes.sort_by_key(|&d| std::cmp::Reverse(if shape.size(d) == 1 { usize::MAX } else { shape.stride(d) }));
    let dense = Strided::with_order(shape.sizes(), &axes.iter().map(|&a| a as u8).collect::<Vec<_>>());
    let gaps = dense.extent() != shape.extent();
    axes.iter().map(|&a| letters[a] as char).chain(gaps.then_some('*')).collect()
}
