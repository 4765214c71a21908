#include "constants.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include <executorch/runtime/platform/log.h>

using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::NamedDataMap;
using executorch::runtime::Result;

namespace tandem {
namespace {

using Key = std::pair<const NamedDataMap*, std::string>;

// All constants in use, by data map and key. A delegate never outlives its data map, so a map's address means that
// map for as long as an entry of it is here. Never destroyed: delegates may outlive static objects.
struct Cache {
  std::mutex mutex;
  std::map<Key, std::weak_ptr<const FreeableBuffer>> buffers;
};

Cache& cache() {
  static Cache* const instance = new Cache();
  return *instance;
}

void forget(const Key& key, const FreeableBuffer* buffer) {
  {
    Cache& all = cache();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.buffers.find(key);
    if (found != all.buffers.end() && found->second.expired()) {
      all.buffers.erase(found);
    }
  }
  delete buffer;
}

std::shared_ptr<const FreeableBuffer> obtain(const NamedDataMap* map, const char* name) {
  Key key(map, name);
  Cache& all = cache();
  const std::lock_guard<std::mutex> lock(all.mutex);
  std::weak_ptr<const FreeableBuffer>& known = all.buffers[key];
  if (std::shared_ptr<const FreeableBuffer> shared = known.lock()) {
    return shared;
  }
  Result<FreeableBuffer> loaded = map->get_data(name);
  if (!loaded.ok()) {
    all.buffers.erase(key);
    return nullptr;
  }
  std::shared_ptr<const FreeableBuffer> fresh(
      new FreeableBuffer(std::move(loaded.get())), [key](const FreeableBuffer* buffer) { forget(key, buffer); });
  known = fresh;
  return fresh;
}

}  // namespace

tandem_constants Constants::hand_over(std::unique_ptr<Constants> constants) {
  return tandem_constants{constants.release(), &Constants::get_data, &Constants::release};
}

tandem_status Constants::get_data(void* self, const char* key, const void** data, size_t* len) {
  auto* constants = static_cast<Constants*>(self);
  if (constants->map_ == nullptr) {
    ET_LOG(Error, "TandemBackend: the program has no named data to look \"%s\" up in", key);
    return TANDEM_MISSING_CONSTANT;
  }
  std::shared_ptr<const FreeableBuffer> buffer = obtain(constants->map_, key);
  if (buffer == nullptr) {
    ET_LOG(Error, "TandemBackend: no named data \"%s\"", key);
    return TANDEM_MISSING_CONSTANT;
  }
  const Result<const void*> bytes = buffer->data_safe();
  if (!bytes.ok()) {
    return TANDEM_MISSING_CONSTANT;
  }
  *data = bytes.get();
  *len = buffer->size();
  constants->held_.push_back(std::move(buffer));
  return TANDEM_OK;
}

void Constants::release(void* self) { delete static_cast<Constants*>(self); }

}  // namespace tandem
