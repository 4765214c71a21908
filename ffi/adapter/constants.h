// Constants of delegates: the named data of a .pte, held once however many delegates use it.
#pragma once

#include <memory>
#include <vector>

#include <executorch/runtime/core/freeable_buffer.h>
#include <executorch/runtime/core/named_data_map.h>

#include "tandem.h"

namespace tandem {

// The constants one delegate holds on to. A loader gives a new mapping or a new copy at every get_data: delegates of
// one data map share it instead, from the first that asks until the last is destroyed.
class Constants {
 public:
  explicit Constants(const executorch::runtime::NamedDataMap* map) : map_(map) {}

  // A tandem_constants whose release deletes `constants`.
  static tandem_constants hand_over(std::unique_ptr<Constants> constants);

 private:
  using Buffer = executorch::runtime::FreeableBuffer;

  static tandem_status get_data(void* self, const char* key, const void** data, size_t* len);
  static void release(void* self);

  const executorch::runtime::NamedDataMap* map_;
  std::vector<std::shared_ptr<const Buffer>> held_;
};

}  // namespace tandem
