# The Rust half: target `tandem_rust` runs cargo, which knows best what is out of date.
#
# Sets TANDEM_STATICLIB (engine behind the C ABI) and TANDEM_LOWER_LIBRARY (compiler, for export on this machine).
# TANDEM_RUST_TARGET, set by the toolchain files, is the target triple of a cross build.
set(TANDEM_RUST_TARGET "" CACHE STRING "Rust target triple; empty: this machine")
# In the same call of cargo, since features of shared crates, and so what is compiled, depend on what is built together.
option(TANDEM_PROGRAM "Build the tandem program as well; $EXECUTORCH_DIR is the executorch package" OFF)
find_program(TANDEM_CARGO cargo HINTS $ENV{CARGO_HOME}/bin $ENV{HOME}/.cargo/bin REQUIRED)

if(DEFINED ENV{CARGO_TARGET_DIR})
  set(cargo_target_dir $ENV{CARGO_TARGET_DIR})
else()
  set(cargo_target_dir ${PROJECT_SOURCE_DIR}/target)
endif()
set(cargo_args build --release --quiet --package tandem-ffi)
if(TANDEM_RUST_TARGET)
  list(APPEND cargo_args --target ${TANDEM_RUST_TARGET})
  set(cargo_out ${cargo_target_dir}/${TANDEM_RUST_TARGET}/release)
else()
  list(APPEND cargo_args --package tandem-lower)
  set(cargo_out ${cargo_target_dir}/release)
endif()
if(TANDEM_PROGRAM)
  list(APPEND cargo_args --package tandem-cli)
endif()
set(TANDEM_STATICLIB ${cargo_out}/libtandem_ffi.a)
set(TANDEM_LOWER_LIBRARY ${cargo_out}/libtandem_lower.so)

add_custom_target(
  tandem_rust
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${cargo_target_dir} ${TANDEM_CARGO} ${cargo_args}
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  BYPRODUCTS ${TANDEM_STATICLIB}
  USES_TERMINAL
  COMMENT "Engine")
