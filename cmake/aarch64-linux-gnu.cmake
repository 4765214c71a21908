# Toolchain: Linux on 64-bit Arm with Debian's cross compilers.
#
#   rustup target add aarch64-unknown-linux-gnu
#   cmake -S . -B target/adapter-aarch64 -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake \
#     -DCMAKE_PREFIX_PATH=<the aarch64 wheel's executorch folder, its lib, include and share unpacked>
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
find_program(CMAKE_C_COMPILER NAMES aarch64-linux-gnu-gcc aarch64-linux-gnu-gcc-12 REQUIRED)
find_program(CMAKE_CXX_COMPILER NAMES aarch64-linux-gnu-g++ aarch64-linux-gnu-g++-12 REQUIRED)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(TANDEM_RUST_TARGET aarch64-unknown-linux-gnu CACHE STRING "Rust target triple")
