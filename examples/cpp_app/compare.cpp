#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model.h"

using executorch::aten::ScalarType;

namespace app {
namespace {

template <typename T>
Difference compare_as(const std::vector<uint8_t>& have, const std::vector<uint8_t>& want) {
  double low = INFINITY;
  double high = -INFINITY;
  double worst = 0;
  for (size_t at = 0; at + sizeof(T) <= want.size(); at += sizeof(T)) {
    T a{};
    T b{};
    std::memcpy(&a, &have[at], sizeof(T));
    std::memcpy(&b, &want[at], sizeof(T));
    const double x = static_cast<double>(a);
    const double y = static_cast<double>(b);
    if (std::isfinite(y)) {
      low = std::min(low, y);
      high = std::max(high, y);
    }
    if (x == y || (std::isnan(x) && std::isnan(y))) {
      continue;
    }
    const double difference = std::fabs(x - y);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  return {worst, worst / (high > low ? high - low : 1)};
}

template <typename T>
Difference compare_exactly(const std::vector<uint8_t>& have, const std::vector<uint8_t>& want) {
  const Difference difference = compare_as<T>(have, want);
  return {difference.worst, difference.worst > 0 ? INFINITY : 0};
}

}  // namespace

Difference compare(ScalarType type, const std::vector<uint8_t>& have, const std::vector<uint8_t>& want) {
  switch (type) {
    case ScalarType::Float:
      return compare_as<float>(have, want);
    case ScalarType::Double:
      return compare_as<double>(have, want);
    case ScalarType::Half:
      return compare_as<executorch::aten::Half>(have, want);
    case ScalarType::BFloat16:
      return compare_as<executorch::aten::BFloat16>(have, want);
    case ScalarType::Char:
      return compare_exactly<int8_t>(have, want);
    case ScalarType::Byte:
    case ScalarType::Bool:
      return compare_exactly<uint8_t>(have, want);
    case ScalarType::Short:
      return compare_exactly<int16_t>(have, want);
    case ScalarType::Int:
      return compare_exactly<int32_t>(have, want);
    case ScalarType::Long:
      return compare_exactly<int64_t>(have, want);
    default:
      throw Failure("elements of type " + std::to_string(static_cast<int>(type)) + " cannot be compared");
  }
}

}  // namespace app
