//! C ABI of the compiler, as `include/tandem_lower.h` documents it.
