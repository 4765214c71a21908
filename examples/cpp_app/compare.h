// Answers against expected ones.
#pragma once

#include <cstdint>
#include <vector>

#include <executorch/runtime/core/exec_aten/exec_aten.h>

namespace app {

// How far an answer is from the expected one.
struct Difference {
  // Greatest of all elements; infinite where one is NaN, or infinite, and the other is not the same.
  double worst = 0;
  // `worst` relative to the range of the expected values; for integers and truth values 0 or infinite.
  double relative = 0;
};

// Compares elements of a type, as many as `want` has.
Difference compare(
    executorch::aten::ScalarType type, const std::vector<uint8_t>& have, const std::vector<uint8_t>& want);

}  // namespace app
