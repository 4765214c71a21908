# Toolchain: Android on 64-bit Arm with the NDK's own file behind it.
#
#   rustup target add aarch64-linux-android
#   cmake -S . -B target/adapter-android -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/android-arm64.cmake \
#     -DCMAKE_PREFIX_PATH=<an ExecuTorch package built for Android>
#
# $ANDROID_NDK is the NDK's folder. tandem-ffi is a static library: linking it needs no Rust-side linker.
if(NOT DEFINED ENV{ANDROID_NDK})
  message(FATAL_ERROR "set ANDROID_NDK to the NDK's folder")
endif()
set(ANDROID_ABI arm64-v8a CACHE STRING "ABI")
set(ANDROID_PLATFORM android-26 CACHE STRING "oldest Android")
set(TANDEM_RUST_TARGET aarch64-linux-android CACHE STRING "Rust target triple")
include($ENV{ANDROID_NDK}/build/cmake/android.toolchain.cmake)
