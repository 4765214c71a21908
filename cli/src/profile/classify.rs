//! What other people's operator names mean.

use serde::Serialize;

/// Kinds of work, as the tables group them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Category {
    /// Convolutions, transposed ones too.
    Convolution,
    /// Matrix products.
    #[serde(rename = "GEMM")]
    Gemm,
    /// Transposes, copies, concatenations.
    #[serde(rename = "Data movement")]
    DataMovement,
    /// Element by element.
    Elementwise,
    /// Anything outside delegates.
    Portable,
    /// Pooling, softmax, normalisation, the calls themselves.
    Other,
}

impl Category {
    /// All of them, in the order tables list them.
    pub const ALL: [Category; 6] =
        [Self::Convolution, Self::Gemm, Self::DataMovement, Self::Elementwise, Self::Portable, Self::Other];

    /// As tables write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Convolution => "Convolution",
            Self::Gemm => "GEMM",
            Self::DataMovement => "Data movement",
            Self::Elementwise => "Elementwise",
            Self::Portable => "Portable",
            Self::Other => "Other",
        }
    }

    /// The category a report of Tandem names.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|c| c.name() == name).unwrap_or(Self::Other)
    }
}

/// An XNNPACK event name such as "Convolution (NHWC, F32) IGEMM #3" in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Xnnpack<'a> {
    /// "Convolution"
    pub op: &'a str,
    /// "NHWC"
    pub layout: &'a str,
    /// "IGEMM"
    pub kernel: &'a str,
    /// Kind of work.
    pub category: Category,
}

/// Takes an XNNPACK event name apart.
pub fn xnnpack(name: &str) -> Xnnpack<'_> {
    let name = name.rsplit_once(" #").map_or(name, |(head, _)| head);
    let (op, rest) = name.split_once(" (").unwrap_or((name, ""));
    let (types, kernel) = rest.split_once(')').unwrap_or((rest, ""));
    let layout = types.split(',').next().unwrap_or("");
    Xnnpack { op, layout, kernel: kernel.trim(), category: category(op) }
}

fn category(op: &str) -> Category {
    const RULES: [(Category, &[&str]); 4] = [
        (Category::Convolution, &["Convolution", "Deconvolution"]),
        (Category::Gemm, &["Fully Connected", "Batch Matrix Multiply", "Matrix Multiply"]),
        (
            Category::DataMovement,
            &[
                "Transpose",
                "Copy",
                "Reshape",
                "Slice",
                "Concatenate",
                "Split",
                "Constant Pad",
                "Pad",
                "Depth To Space",
                "Space To Depth",
                "Broadcast",
                "Expand",
                "Squeeze",
                "Convert",
            ],
        ),
        (
            Category::Elementwise,
            &[
                "Add",
                "Subtract",
                "Multiply",
                "Divide",
                "Clamp",
                "Sigmoid",
                "HardSwish",
                "Hardswish",
                "Tanh",
                "GELU",
                "Gelu",
                "ELU",
                "Abs",
                "Negate",
                "Square",
                "Exp",
                "Log",
                "Maximum",
                "Minimum",
                "Leaky",
                "LeakyReLU",
                "PReLU",
                "Floor",
                "Ceiling",
                "Rounding",
                "Bankers",
                "Unary",
                "Binary",
                "Reciprocal",
                "Copysign",
                "Sine",
                "Cosine",
                "Prelu",
            ],
        ),
    ];
    let op = op.trim_start_matches("Static ").trim_start_matches("Dynamic ");
    let is = |word: &&&str| op == **word || op.starts_with(&format!("{word} ")) || op.ends_with(*word);
    RULES
        .iter()
        .find(|(_, words)| words.iter().any(|word| is(&word)))
        .map_or(Category::Other, |(category, _)| *category)
}

/// Whether a row only changes the layout of a tensor, or copies it: work that a model does not ask for. `op` is a step's
/// operator, an XNNPACK name or a portable kernel's name.
pub fn moves_layout(op: &str) -> bool {
    const OPS: [&str; 8] =
        ["Permute", "Transpose", "Copy", "Layout", "permute_copy", "transpose_copy", "t_copy", "clone"];
    let op = op.rsplit("::").next().unwrap_or(op);
    let op = op.split('.').next().unwrap_or(op);
    OPS.contains(&op) || ["_clone_dim_order", "_to_dim_order_copy"].contains(&op)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xnnpack_names_come_apart() {
        let conv = xnnpack("Convolution (NHWC, F32) IGEMM #12");
        let expected =
            Xnnpack { op: "Convolution", layout: "NHWC", kernel: "IGEMM", category: Category::Convolution };
        assert_eq!(conv, expected);
        let categories = [
            ("Transpose (ND, X32) #1", Category::DataMovement),
            ("Static Reshape (NC) #1", Category::DataMovement),
            ("Copy (NC, X32) #1", Category::DataMovement),
            ("Constant Pad (ND, X32) #1", Category::DataMovement),
            ("Fully Connected (NC, F32) GEMM #1", Category::Gemm),
            ("Dynamic Fully Connected (NC, F32) GEMM #1", Category::Gemm),
            ("Batch Matrix Multiply (NC, F32) GEMM #1", Category::Gemm),
            ("Deconvolution (NHWC, F32) #1", Category::Convolution),
            ("Add (ND) #1", Category::Elementwise),
            ("Hardswish (NC) #2", Category::Elementwise),
            ("Max Pooling (NHWC, F32) #1", Category::Other),
            ("Softmax (NC, F32) #1", Category::Other),
            ("Mean (ND) #1", Category::Other),
            ("17", Category::Other),
        ];
        for (name, category) in categories {
            assert_eq!(xnnpack(name).category, category, "{name}");
        }
    }

    #[test]
    fn layout_moves_are_counted_and_concatenations_are_not() {
        for op in ["Transpose", "Permute", "permute_copy.out", "dim_order_ops::_clone_dim_order.out"] {
            assert!(moves_layout(op), "{op}");
        }
        for op in ["Concat", "Slice", "Static Reshape", "add.out", "view_copy.out"] {
            assert!(!moves_layout(op), "{op}");
        }
    }

    #[test]
    fn names_round_trip() {
        for category in Category::ALL {
            assert_eq!(Category::named(category.name()), category);
            assert_eq!(serde_json::to_string(&category).unwrap(), format!("{:?}", category.name()));
        }
    }
}
