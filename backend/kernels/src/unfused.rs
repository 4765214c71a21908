//! A problem as a stack sees it whose products fuse a bias and a clamp and nothing else: what [`crate::Family::unfused`] says,
//! for models of such stacks.

/// A product and what is left to steps of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unfused {
    /// The product, if the problem is one.
    pub product: Option<Product>,
    /// Elements of several sources that are joined to one first.
    pub joined: usize,
    /// Elements of the result that a pixel shuffle moves.
    pub shuffled: usize,
    /// Elements of the result.
    pub elements: usize,
    /// Bytes of an element.
    pub width: usize,
    /// Names of passes over the result, in order.
    pub passes: Vec<&'static str>,
}

/// Products of `m` rows with `n` columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// Products that share nothing.
    pub batch: usize,
    /// Rows of one.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Sum over so many.
    pub k: usize,
    /// Runs that k comes in: kernel positions of a convolution, 1 of a matrix.
    pub taps: usize,
    /// Whether the right-hand side comes with the call, so that it is packed in it.
    pub packs_rhs: bool,
}

#[cfg(test)]
mod tests {
    use tandem_base::Strided;

    use super::*;
    use crate::{Act, Epilogue, Family, conv, gemm};

    fn image(c: usize, edge: usize) -> Strided {
        Strided::with_order(&[1, c, edge, edge], &[0, 2, 3, 1])
    }

    fn convolution() -> conv::Problem {
        conv::Problem {
            src: [image(5, 8), image(7, 8)].into_iter().collect(),
            dst: image(6, 16),
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1; 4],
            dilation: [1, 1],
            groups: 1,
            shuffle: 2,
            epilogue: Epilogue::default(),
            fast_math: true,
        }
    }

    #[test]
    fn convolutions_are_products_of_patches() {
        let unfused = conv::Conv::<f32>::unfused(&convolution());
        let product = Product { batch: 1, m: 64, n: 24, k: 9 * 12, taps: 9, packs_rhs: false };
        assert_eq!(unfused.product, Some(product));
        assert_eq!((unfused.joined, unfused.shuffled), (12 * 64, 6 * 256));
        let flops = 2.0 * (product.m * product.n * product.k) as f64;
        assert_eq!(flops, conv::Conv::<f32>::cost(&convolution()).flops);
        let depthwise = conv::Problem {
            src: [image(6, 16)].into_iter().collect(),
            groups: 6,
            shuffle: 1,
            ..convolution()
        };
        assert_eq!(conv::Conv::<f32>::unfused(&depthwise).product, None);
    }

    #[test]
    fn matrices_of_the_call_are_packed() {
        let [lhs, rhs, dst] = [[3, 4, 5], [3, 5, 6], [3, 4, 6]].map(|sizes| Strided::contiguous(&sizes));
        let problem = |rhs| gemm::Problem { lhs, rhs, dst, alpha: 1.0, epilogue: Epilogue::default() };
        let sizes = |rhs| {
            let p = gemm::Gemm::<f32>::unfused(&problem(rhs)).product.unwrap();
            (p.batch, p.m, p.n, p.k, p.packs_rhs)
        };
        assert_eq!(sizes(gemm::Rhs::Panels), (1, 12, 6, 5, false));
        assert_eq!(sizes(gemm::Rhs::Strided(rhs)), (3, 4, 6, 5, true));
    }

    #[test]
    fn a_clamp_and_a_bias_leave_nothing() {
        let passes = |epilogue: Epilogue| epilogue.passes();
        let relu = Epilogue { bias: true, act: Act::Relu, ..Epilogue::default() };
        assert!(passes(relu).is_empty());
        assert!(passes(Epilogue { act: Act::None, scale_shift: true, ..relu }).is_empty());
        assert_eq!(passes(Epilogue { scale_shift: true, ..relu }), ["batch norm"]);
        let all = Epilogue {
            act: Act::Gelu,
            scale_shift: true,
            residual: Some(image(6, 16)),
            act2: Act::Relu,
            ..relu
        };
        assert_eq!(passes(all), ["activation", "batch norm", "residual"]);
    }
}
