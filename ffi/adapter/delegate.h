// One delegate: a Tandem method behind ExecuTorch's handle.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <executorch/runtime/backend/interface.h>

#include "tandem_executorch.h"

namespace tandem {

// ExecuTorch's name for what a call answered.
executorch::runtime::Error to_error(tandem_status status);

// Threads the host lets an execute use.
size_t host_threads();

class Delegate {
 public:
  using Clock = std::chrono::steady_clock;

  // Takes over a method whose loading began at `since`. `threads` 0: the host's number.
  Delegate(tandem_method* method, const char* method_name, size_t threads, Clock::time_point since);
  ~Delegate();
  Delegate(const Delegate&) = delete;
  Delegate& operator=(const Delegate&) = delete;

  // Runs the method on inputs followed by outputs. One call at a time; a second gets InvalidState.
  executorch::runtime::Error execute(
      executorch::runtime::EventTracer* tracer,
      executorch::runtime::Span<executorch::runtime::EValue*> args,
      size_t default_threads);

  tandem_delegate describe() const;

 private:
  struct Event {
    size_t step;
    uint64_t start_ns;
    uint64_t end_ns;
  };

  // A thread in a matrix unit.
  struct Entry {
    size_t step;
    size_t thread;
    uint64_t start_ns;
    uint64_t end_ns;
  };

  static void on_step(void* self, size_t step, uint64_t start_ns, uint64_t end_ns);
  static void on_entry(void* self, size_t step, size_t thread, uint64_t start_ns, uint64_t end_ns);
  executorch::runtime::Error convert(executorch::runtime::Span<executorch::runtime::EValue*> args);
  executorch::runtime::Error convert(executorch::runtime::EValue* arg, size_t index);
  executorch::runtime::Error resize_outputs(executorch::runtime::Span<executorch::runtime::EValue*> outputs);
  void read_steps();
  executorch::runtime::Error run(executorch::runtime::EventTracer* tracer, size_t threads);
  void log_events(executorch::runtime::EventTracer* tracer) const;

  tandem_method* const method_;
  const std::string method_name_;
  const size_t threads_;
  uint64_t init_ns_ = 0;
  size_t num_inputs_ = 0;
  size_t num_outputs_ = 0;
  bool dynamic_ = false;
  std::vector<tandem_step> steps_;
  std::vector<tandem_tensor> tensors_;
  std::vector<size_t> sizes_;
  std::vector<int64_t> integers_;
  std::vector<Event> events_;
  std::vector<Entry> entries_;
  uint64_t first_end_ticks_ = 0;
  std::atomic<uint64_t> executions_{0};
  std::atomic_flag executing_ = ATOMIC_FLAG_INIT;
};

}  // namespace tandem
