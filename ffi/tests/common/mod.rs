//! Programs for tests.

/// A default with some fields set: the schema's structs take no struct expressions.
macro_rules! with {
    ($kind:ty, $($field:ident = $value:expr),+ $(,)?) => {{
        let mut made = <$kind>::default();
        $(made.$field = $value;)+
        made
    }};
}
