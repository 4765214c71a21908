#include "delegate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/core/event_tracer_hooks_delegate.h>
#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>
#include <executorch/runtime/platform/platform.h>

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::EventTracer;
using executorch::runtime::EventTracerProfilingLevel;
using executorch::runtime::Span;

namespace tandem {
namespace {

// The delegates of this process, oldest first. Never destroyed: delegates may outlive static objects.
struct Living {
  std::mutex mutex;
  std::vector<const Delegate*> delegates;
};

Living& living() {
  static Living* const instance = new Living();
  return *instance;
}

// What events of threads in matrix units are called.
constexpr char kEntry[] = "matrix unit";

thread_local const tandem_method* tracing = nullptr;

tandem_dtype to_dtype(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return TANDEM_F32;
    case ScalarType::Half:
      return TANDEM_F16;
    case ScalarType::BFloat16:
      return TANDEM_BF16;
    case ScalarType::Double:
      return TANDEM_F64;
    case ScalarType::Char:
      return TANDEM_I8;
    case ScalarType::Byte:
      return TANDEM_U8;
    case ScalarType::Short:
      return TANDEM_I16;
    case ScalarType::Int:
      return TANDEM_I32;
    case ScalarType::Long:
      return TANDEM_I64;
    case ScalarType::Bool:
      return TANDEM_BOOL;
    default:
      return -1;
  }
}

class Released {
 public:
  explicit Released(std::atomic_flag& flag) : flag_(flag) {}
  ~Released() { flag_.clear(std::memory_order_release); }

 private:
  std::atomic_flag& flag_;
};

}  // namespace

Error to_error(tandem_status status) {
  switch (status) {
    case TANDEM_OK:
      return Error::Ok;
    case TANDEM_INVALID_ARGUMENT:
      return Error::InvalidArgument;
    case TANDEM_INCOMPATIBLE_BLOB:
      return Error::DelegateInvalidCompatibility;
    case TANDEM_INVALID_PROGRAM:
      return Error::InvalidProgram;
    case TANDEM_NOT_SUPPORTED:
      return Error::NotSupported;
    case TANDEM_MISSING_CONSTANT:
      return Error::NotFound;
    case TANDEM_BUSY:
    case TANDEM_CANCELLED:
      return Error::InvalidState;
    default:
      return Error::Internal;
  }
}

size_t host_threads() {
  if (executorch::extension::threadpool::NoThreadPoolGuard::is_enabled()) {
    return 1;
  }
  return static_cast<size_t>(std::max<int64_t>(1, executorch::extension::get_thread_count()));
}

Delegate::Delegate(tandem_method* method, const char* method_name, size_t threads, Clock::time_point since)
    : method_(method), method_name_(method_name == nullptr ? "" : method_name), threads_(threads) {
  tandem_report report{};
  if (tandem_get_report(method, &report) == TANDEM_OK) {
    num_inputs_ = report.num_inputs;
    num_outputs_ = report.num_outputs;
    dynamic_ = report.num_symbols > 0;
  }
  read_steps();
  tensors_.resize(num_inputs_ + num_outputs_);
  sizes_.resize(tensors_.size() * TANDEM_MAX_RANK);
  integers_.resize(num_inputs_);
  init_ns_ = static_cast<uint64_t>(std::chrono::nanoseconds(Clock::now() - since).count());
  Living& all = living();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.delegates.push_back(this);
}

Delegate::~Delegate() {
  {
    Living& all = living();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.delegates.erase(std::find(all.delegates.begin(), all.delegates.end(), this));
  }
  tandem_destroy(method_);
}

Error Delegate::execute(EventTracer* tracer, Span<EValue*> args, size_t default_threads) {
  if (executing_.test_and_set(std::memory_order_acquire)) {
    ET_LOG(Error, "TandemBackend: \"%s\" is executing on another thread", method_name_.c_str());
    return Error::InvalidState;
  }
  const Released released(executing_);
  const Error converted = convert(args);
  if (converted != Error::Ok) {
    return converted;
  }
  if (tracer != nullptr && tracer->event_tracer_profiling_level() == EventTracerProfilingLevel::kProfileMethodOnly) {
    tracer = nullptr;
  }
  const size_t chosen = threads_ != 0 ? threads_ : default_threads;
  return run(tracer, chosen != 0 ? chosen : host_threads());
}

Error Delegate::convert(Span<EValue*> args) {
  ET_CHECK_OR_RETURN_ERROR(
      args.size() == tensors_.size(), InvalidArgument,
      "TandemBackend: \"%s\" got %zu arguments, it has %zu inputs and %zu outputs", method_name_.c_str(), args.size(),
      num_inputs_, num_outputs_);
  for (size_t i = 0; i < num_inputs_; ++i) {
    const Error converted = convert(args[i], i);
    if (converted != Error::Ok) {
      return converted;
    }
  }
  const Span<EValue*> outputs(args.data() + num_inputs_, num_outputs_);
  const Error resized = dynamic_ ? resize_outputs(outputs) : Error::Ok;
  if (resized != Error::Ok) {
    return resized;
  }
  for (size_t i = 0; i < num_outputs_; ++i) {
    const Error converted = convert(outputs[i], num_inputs_ + i);
    if (converted != Error::Ok) {
      return converted;
    }
  }
  return Error::Ok;
}

Error Delegate::convert(EValue* arg, size_t index) {
  if (arg != nullptr && arg->isInt() && index < num_inputs_) {
    integers_[index] = arg->toInt();
    tensors_[index] = tandem_tensor{TANDEM_I64, 0, nullptr, nullptr, &integers_[index], sizeof(int64_t)};
    return Error::Ok;
  }
  ET_CHECK_OR_RETURN_ERROR(
      arg != nullptr && arg->isTensor(), NotSupported, "TandemBackend: argument %zu of \"%s\" is no tensor", index,
      method_name_.c_str());
  const Tensor& tensor = arg->toTensor();
  const size_t rank = static_cast<size_t>(tensor.dim());
  ET_CHECK_OR_RETURN_ERROR(
      rank <= TANDEM_MAX_RANK && tensor.dim_order().size() == rank, InvalidArgument,
      "TandemBackend: argument %zu of \"%s\" has rank %zu, at most %d are possible", index, method_name_.c_str(), rank,
      TANDEM_MAX_RANK);
  size_t* const sizes = sizes_.data() + index * TANDEM_MAX_RANK;
  std::copy(tensor.sizes().begin(), tensor.sizes().end(), sizes);
  tensors_[index] = tandem_tensor{
      to_dtype(tensor.scalar_type()), static_cast<uint32_t>(rank), sizes,
      tensor.dim_order().data(),      tensor.mutable_data_ptr(),   tensor.nbytes()};
  return Error::Ok;
}

// Outputs get the sizes that follow from those of the inputs.
Error Delegate::resize_outputs(Span<EValue*> outputs) {
  size_t* const sizes = sizes_.data() + num_inputs_ * TANDEM_MAX_RANK;
  const tandem_status status = tandem_output_sizes(method_, tensors_.data(), num_inputs_, sizes, num_outputs_);
  if (status != TANDEM_OK) {
    ET_LOG(Error, "TandemBackend: %s: %s", method_name_.c_str(), tandem_last_error());
    return to_error(status);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    ET_CHECK_OR_RETURN_ERROR(
        outputs[i] != nullptr && outputs[i]->isTensor(), NotSupported, "TandemBackend: output %zu of \"%s\" is no tensor",
        i, method_name_.c_str());
    Tensor& tensor = outputs[i]->toTensor();
    const size_t rank = static_cast<size_t>(tensor.dim());
    std::array<executorch::aten::SizesType, TANDEM_MAX_RANK> wanted{};
    for (size_t d = 0; d < std::min<size_t>(rank, TANDEM_MAX_RANK); ++d) {
      wanted[d] = static_cast<executorch::aten::SizesType>(sizes[i * TANDEM_MAX_RANK + d]);
    }
    const Error resized =
        executorch::runtime::resize_tensor(tensor, {wanted.data(), std::min<size_t>(rank, TANDEM_MAX_RANK)});
    ET_CHECK_OR_RETURN_ERROR(
        resized == Error::Ok, InvalidArgument, "TandemBackend: output %zu of \"%s\" cannot take the sizes it is to have",
        i, method_name_.c_str());
  }
  return Error::Ok;
}

// The names of the present plan's steps.
void Delegate::read_steps() {
  tandem_report report{};
  steps_.clear();
  if (tandem_get_report(method_, &report) == TANDEM_OK) {
    steps_.resize(report.num_steps);
    for (size_t i = 0; i < steps_.size(); ++i) {
      (void)tandem_get_step(method_, i, &steps_[i]);
    }
  }
}

Error Delegate::run(EventTracer* tracer, size_t threads) {
  tandem_call call{};
  call.inputs = tensors_.data();
  call.num_inputs = num_inputs_;
  call.outputs = tensors_.data() + num_inputs_;
  call.num_outputs = num_outputs_;
  call.threads = threads;
  if (tracer != nullptr) {
    events_.clear();
    events_.reserve(steps_.size());
    entries_.clear();
    call.step = &Delegate::on_step;
    call.entry = &Delegate::on_entry;
    call.step_ctx = this;
  }
  const tandem_status status = tandem_execute(method_, &call);
  if (status != TANDEM_OK) {
    ET_LOG(Error, "TandemBackend: %s: %s", method_name_.c_str(), tandem_last_error());
    return to_error(status);
  }
  executions_.fetch_add(1, std::memory_order_relaxed);
  if (tracer != nullptr) {
    if (dynamic_) {
      read_steps();
    }
    log_events(tracer);
  }
  return Error::Ok;
}

void Delegate::on_step(void* self, size_t step, uint64_t start_ns, uint64_t end_ns) {
  auto* delegate = static_cast<Delegate*>(self);
  if (delegate->events_.empty()) {
    delegate->first_end_ticks_ = executorch::runtime::pal_current_ticks();
  }
  delegate->events_.push_back(Event{step, start_ns, end_ns});
}

void Delegate::on_entry(void* self, size_t step, size_t thread, uint64_t start_ns, uint64_t end_ns) {
  static_cast<Delegate*>(self)->entries_.push_back(Entry{step, thread, start_ns, end_ns});
}

// Steps are logged behind the execution, which they would slow down otherwise. Their clock becomes ExecuTorch's by the
// one moment seen on both: the end of the first step.
void Delegate::log_events(EventTracer* tracer) const {
  if (events_.empty()) {
    return;
  }
  const et_tick_ratio_t ratio = executorch::runtime::pal_ticks_to_ns_multiplier();
  const int64_t zero = static_cast<int64_t>(events_.front().end_ns);
  const auto ticks = [&](uint64_t ns) {
    const int64_t since = static_cast<int64_t>(ns) - zero;
    return first_end_ticks_ +
        static_cast<et_timestamp_t>(
               since * static_cast<int64_t>(ratio.denominator) / static_cast<int64_t>(ratio.numerator));
  };
  tracing = method_;
  auto entry = entries_.begin();
  for (const Event& event : events_) {
    if (event.step < steps_.size()) {
      const tandem_step& step = steps_[event.step];
      executorch::runtime::event_tracer_log_profiling_delegate(
          tracer, step.name, executorch::runtime::kUnsetDelegateDebugIntId, ticks(event.start_ns), ticks(event.end_ns),
          step.kernel, std::strlen(step.kernel));
      for (; entry != entries_.end() && entry->step <= event.step; ++entry) {
        const std::string where = "thread " + std::to_string(entry->thread) + " of " + step.name;
        executorch::runtime::event_tracer_log_profiling_delegate(
            tracer, kEntry, executorch::runtime::kUnsetDelegateDebugIntId, ticks(entry->start_ns), ticks(entry->end_ns),
            where.data(), where.size());
      }
    }
  }
  tracing = nullptr;
}

tandem_delegate Delegate::describe() const {
  return tandem_delegate{method_, method_name_.c_str(), executions_.load(std::memory_order_relaxed), init_ns_};
}

}  // namespace tandem

extern "C" {

size_t tandem_list_delegates(tandem_delegate* delegates, size_t capacity) {
  tandem::Living& all = tandem::living();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const size_t written = delegates == nullptr ? 0 : std::min(capacity, all.delegates.size());
  for (size_t i = 0; i < written; ++i) {
    delegates[i] = all.delegates[i]->describe();
  }
  return all.delegates.size();
}

const tandem_method* tandem_tracing(void) { return tandem::tracing; }

}  // extern "C"
