// An event tracer that keeps events in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <executorch/runtime/core/event_tracer.h>

namespace tandem::cli {

class Collector final : public executorch::runtime::EventTracer {
 public:
  using ChainID = executorch::runtime::ChainID;
  using DebugHandle = executorch::runtime::DebugHandle;
  using DelegateId = executorch::runtime::DelegateDebugIntId;
  using Entry = executorch::runtime::EventTracerEntry;
  using Tensor = executorch::aten::Tensor;

  struct Event {
    bool delegate = false;
    std::string name;
    std::string detail;
    std::string shape;
    int64_t instruction = -1;
    size_t method = 0;
    uint64_t start_ns = 0;
    uint64_t end_ns = 0;
  };

  // Events since the last call, in the order they began.
  std::vector<Event> take();

  void create_event_block(const char* name) override;
  Entry start_profiling(const char* name, ChainID chain, DebugHandle handle) override;
  void end_profiling(Entry entry) override;
  Entry start_profiling_delegate(const char* name, DelegateId index) override;
  void end_profiling_delegate(Entry entry, const void* metadata, size_t length) override;
  void log_profiling_delegate(
      const char* name, DelegateId index, et_timestamp_t start, et_timestamp_t end, const void* metadata,
      size_t length) override;
  executorch::runtime::Result<bool> log_evalue(
      const executorch::runtime::EValue& value, executorch::runtime::LoggedEValueType type) override;

  void track_allocation(executorch::runtime::AllocatorID, size_t) override {}
  executorch::runtime::AllocatorID track_allocator(const char*) override { return 0; }
  void set_delegation_intermediate_output_filter(executorch::runtime::EventTracerFilterBase*) override {}
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, DelegateId, const Tensor&) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, DelegateId, executorch::runtime::ArrayRef<Tensor>) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(const char*, DelegateId, const int&) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(const char*, DelegateId, const bool&) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(const char*, DelegateId, const double&) override {
    return false;
  }

 private:
  Entry open(const char* name, bool delegate, DelegateId index, DebugHandle handle);

  std::vector<Event> events_;
};

}  // namespace tandem::cli
