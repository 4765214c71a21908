#include "collector.h"

#include <algorithm>
#include <utility>

#include <executorch/runtime/platform/clock.h>
#include <executorch/runtime/platform/platform.h>

#include "tandem_executorch.h"

using executorch::runtime::DelegateDebugIdType;
using executorch::runtime::EValue;
using executorch::runtime::Result;
using executorch::runtime::ticks_to_ns;

namespace tandem::cli {
namespace {

uint64_t now_ns() { return ticks_to_ns(executorch::runtime::pal_current_ticks()); }

std::string text_of(const void* bytes, size_t length) {
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), length);
}

}  // namespace

std::vector<Collector::Event> Collector::take() {
  std::vector<Event> all = std::exchange(events_, {});
  std::stable_sort(all.begin(), all.end(), [](const Event& a, const Event& b) { return a.start_ns < b.start_ns; });
  return all;
}

void Collector::create_event_block(const char*) {}

Collector::Entry Collector::open(const char* name, bool delegate, DelegateId index, DebugHandle handle) {
  Event event;
  event.delegate = delegate;
  event.name = name != nullptr ? name : std::to_string(index);
  event.instruction = chain_id_ == executorch::runtime::kUnsetChainId ? -1 : static_cast<int64_t>(debug_handle_);
  event.method = delegate ? reinterpret_cast<size_t>(tandem_tracing()) : 0;
  events_.push_back(std::move(event));
  Entry entry{};
  entry.event_id = static_cast<int64_t>(events_.size() - 1);
  entry.chain_id = chain_id_;
  entry.debug_handle = handle;
  entry.delegate_event_id_type = delegate ? DelegateDebugIdType::kInt : DelegateDebugIdType::kNone;
  events_.back().start_ns = now_ns();
  return entry;
}

Collector::Entry Collector::start_profiling(const char* name, ChainID, DebugHandle handle) {
  return open(name, false, 0, handle);
}

void Collector::end_profiling(Entry entry) {
  const uint64_t end = now_ns();
  const auto index = static_cast<size_t>(entry.event_id);
  if (index < events_.size()) {
    events_[index].end_ns = end;
  }
}

Collector::Entry Collector::start_profiling_delegate(const char* name, DelegateId index) {
  return open(name, true, index, 0);
}

void Collector::end_profiling_delegate(Entry entry, const void* metadata, size_t length) {
  end_profiling(entry);
  const auto index = static_cast<size_t>(entry.event_id);
  if (index < events_.size()) {
    events_[index].detail = text_of(metadata, length);
  }
}

void Collector::log_profiling_delegate(
    const char* name, DelegateId index, et_timestamp_t start, et_timestamp_t end, const void* metadata,
    size_t length) {
  (void)open(name, true, index, 0);
  Event& event = events_.back();
  event.start_ns = ticks_to_ns(start);
  event.end_ns = ticks_to_ns(end);
  event.detail = text_of(metadata, length);
}

Result<bool> Collector::log_evalue(const EValue& value, executorch::runtime::LoggedEValueType) {
  // Operators log what they wrote, their result first.
  if (!value.isTensor() || events_.empty() || events_.back().delegate || !events_.back().shape.empty()) {
    return false;
  }
  std::string shape;
  for (const auto size : value.toTensor().sizes()) {
    shape += (shape.empty() ? "" : "x") + std::to_string(size);
  }
  events_.back().shape = std::move(shape);
  return true;
}

}  // namespace tandem::cli
