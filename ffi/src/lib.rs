//! C ABI of the engine, as `include/tandem.h` documents it.
