#include "host.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <executorch/runtime/core/error.h>
#include <executorch/runtime/platform/platform.h>

#include "collector.h"
#include "tandem-cli/src/bridge.rs.h"
#include "tandem_executorch.h"

// The wheel ships this library without its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

using executorch::aten::Tensor;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::EventTracerDebugLogLevel;

namespace tandem::cli {
namespace {

// What ExecuTorch and its backends logged as errors and nobody has reported yet.
struct Log {
  std::mutex mutex;
  std::vector<std::string> errors;
};

Log& log() {
  static Log* const instance = new Log();
  return *instance;
}

void emit(
    et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t, const char* message, size_t length) {
  if (level == kFatal) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(length), message);
  } else if (level == kError) {
    const std::lock_guard<std::mutex> lock(log().mutex);
    log().errors.emplace_back(message, length);
  }
}

[[maybe_unused]] const bool logging =
    executorch::runtime::register_pal(executorch::runtime::PalImpl::create(&emit, __FILE__));

void check(Error error, const std::string& what) {
  if (error == Error::Ok) {
    return;
  }
  std::string text = what + ": " + executorch::runtime::to_string(error);
  const std::lock_guard<std::mutex> lock(log().mutex);
  for (const std::string& line : std::exchange(log().errors, {})) {
    text += "\n  " + line;
  }
  throw std::runtime_error(text);
}

template <typename T>
T check(executorch::runtime::Result<T> result, const std::string& what) {
  check(result.error(), what);
  return std::move(result.get());
}

// A load option as ExecuTorch passes it on: counts as numbers.
executorch::runtime::BackendOption option(const Setting& setting) {
  const std::string key(setting.key);
  const std::string value(setting.value);
  executorch::runtime::BackendOption option;
  std::array<char, executorch::runtime::kMaxOptionValueLength> text{};
  if (key.size() >= sizeof(option.key) || value.size() >= text.size()) {
    throw std::runtime_error("option " + key + " is too long: " + value);
  }
  std::copy(key.begin(), key.end(), option.key);
  std::copy(value.begin(), value.end(), text.begin());
  if (!value.empty() && value.size() < 9 && value.find_first_not_of("0123456789") == std::string::npos) {
    option.value = std::stoi(value);
  } else {
    option.value = text;
  }
  return option;
}

class Watch {
 public:
  uint64_t ns() const {
    const auto spent = std::chrono::steady_clock::now() - start_;
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TensorMeta describe(const Tensor& tensor) {
  TensorMeta meta{};
  meta.scalar_type = static_cast<int32_t>(tensor.scalar_type());
  for (const auto size : tensor.sizes()) {
    meta.sizes.push_back(static_cast<size_t>(size));
  }
  for (const auto dim : tensor.dim_order()) {
    meta.dim_order.push_back(dim);
  }
  meta.bytes = tensor.nbytes();
  return meta;
}

}  // namespace

Host::Host(
    const std::string& path, const std::string& method, bool trace, rust::Slice<const Setting> settings)
    : method_(method) {
  std::unique_ptr<Collector> collector;
  if (trace) {
    collector = std::make_unique<Collector>();
    collector_ = collector.get();
  }
  module_ = std::make_unique<Module>(path, Module::LoadMode::Mmap, std::move(collector));
  const Watch program;
  std::vector<executorch::runtime::BackendOption> options;
  executorch::runtime::LoadBackendOptionsMap map;
  for (const Setting& setting : settings) {
    options.push_back(option(setting));
  }
  if (!options.empty()) {
    check(map.set_options("TandemBackend", {options.data(), options.size()}), "setting options");
  }
  check(module_->load(map), "loading " + path);
  program_ns_ = program.ns();
  if (method_.empty()) {
    const auto names = check(module_->method_names(), "reading the methods of " + path);
    method_ = names.count("forward") != 0 || names.empty() ? "forward" : *names.begin();
  }
  const Watch method_watch;
  check(module_->load_method(method_), "loading " + method_ + " of " + path);
  method_ns_ = method_watch.ns();
  const auto meta = check(module_->method_meta(method_), "reading " + path);
  for (size_t i = 0; i < meta.num_inputs(); ++i) {
    const auto info = check(meta.input_tensor_meta(i), "input " + std::to_string(i) + " of " + path);
    std::vector<executorch::aten::SizesType> sizes(info.sizes().begin(), info.sizes().end());
    std::vector<executorch::aten::DimOrderType> order(info.dim_order().begin(), info.dim_order().end());
    data_.emplace_back(info.nbytes());
    tensors_.push_back(executorch::extension::make_tensor_ptr(
        std::move(sizes), data_.back().data(), std::move(order), {}, info.scalar_type()));
    inputs_.emplace_back(tensors_.back());
  }
}

Host::~Host() = default;

LoadTimes Host::load_times() const { return LoadTimes{program_ns_, method_ns_}; }

rust::Vec<TensorMeta> Host::inputs() const {
  rust::Vec<TensorMeta> all;
  for (const auto& tensor : tensors_) {
    all.push_back(describe(*tensor));
  }
  return all;
}

// Where sizes are symbolic, an input is made as large as it can be, and may be smaller.
void Host::set_input(size_t index, rust::Slice<const uint8_t> bytes, rust::Slice<const size_t> sizes) {
  if (index >= data_.size() || bytes.size() > data_[index].size()) {
    throw std::runtime_error(
        "input " + std::to_string(index) + ": " + std::to_string(bytes.size()) + " bytes do not fit");
  }
  const std::vector<executorch::aten::SizesType> wanted(sizes.begin(), sizes.end());
  check(executorch::extension::resize_tensor_ptr(tensors_[index], wanted), "resizing input " + std::to_string(index));
  std::copy(bytes.begin(), bytes.end(), data_[index].begin());
}

void Host::execute() { results_ = check(module_->execute(method_, inputs_), "executing " + method_); }

rust::Vec<TensorMeta> Host::outputs() const {
  rust::Vec<TensorMeta> all;
  for (const EValue& value : results_) {
    if (value.isTensor()) {
      all.push_back(describe(value.toTensor()));
    }
  }
  return all;
}

rust::Vec<uint8_t> Host::output(size_t index) const {
  rust::Vec<uint8_t> bytes;
  for (const EValue& value : results_) {
    if (value.isTensor() && index-- == 0) {
      const Tensor& tensor = value.toTensor();
      const auto* data = static_cast<const uint8_t*>(tensor.const_data_ptr());
      bytes.reserve(tensor.nbytes());
      std::copy(data, data + tensor.nbytes(), std::back_inserter(bytes));
      break;
    }
  }
  return bytes;
}

void Host::keep_shapes(bool keep) {
  if (collector_ != nullptr) {
    collector_->set_event_tracer_debug_level(
        keep ? EventTracerDebugLogLevel::kIntermediateOutputs : EventTracerDebugLogLevel::kNoLogging);
  }
}

rust::Vec<Event> Host::take_events() {
  rust::Vec<Event> all;
  if (collector_ != nullptr) {
    for (Collector::Event& event : collector_->take()) {
      all.push_back(Event{
          event.delegate ? EventKind::Delegate : EventKind::Runtime, rust::String::lossy(event.name),
          rust::String::lossy(event.detail), rust::String::lossy(event.shape), event.instruction, event.method,
          event.start_ns, event.end_ns});
    }
  }
  return all;
}

std::unique_ptr<Host> load(rust::Str path, rust::Str method, bool trace, rust::Slice<const Setting> settings) {
  check(static_cast<Error>(tandem_register()), "registering TandemBackend");
  return std::make_unique<Host>(std::string(path), std::string(method), trace, settings);
}

rust::Vec<Delegate> delegates() {
  std::vector<tandem_delegate> living(tandem_list_delegates(nullptr, 0));
  living.resize(std::min(living.size(), tandem_list_delegates(living.data(), living.size())));
  rust::Vec<Delegate> all;
  for (const tandem_delegate& one : living) {
    tandem_report report{};
    if (tandem_get_report(one.method, &report) == TANDEM_OK) {
      all.push_back(Delegate{
          reinterpret_cast<size_t>(one.method), rust::String::lossy(report.isa), rust::String::lossy(report.basis),
          one.init_ns, report.verify_ns, report.plan_ns, report.arena_bytes, report.live_bytes, report.scratch_bytes, report.weight_bytes});
    }
  }
  return all;
}

rust::Vec<Step> steps(size_t method) {
  rust::Vec<Step> all;
  tandem_step step{};
  const auto* const handle = reinterpret_cast<const tandem_method*>(method);
  tandem_report report{};
  if (tandem_get_report(handle, &report) != TANDEM_OK) {
    return all;
  }
  for (size_t i = 0; i < report.num_steps && tandem_get_step(handle, i, &step) == TANDEM_OK; ++i) {
    const auto text = [](const char* bytes) { return rust::String::lossy(bytes); };
    all.push_back(Step{
        text(step.name), text(step.op), text(step.category), text(step.shape), text(step.kernel), text(step.engine),
        text(step.layout_in), text(step.layout_out), text(step.reason), step.flops, step.bytes, step.predicted_ns, {}, {}});
    tandem_part part{};
    for (size_t j = 0; j < step.num_parts && tandem_get_part(handle, i, j, &part) == TANDEM_OK; ++j) {
      all.back().parts.push_back(
          Part{text(part.name), text(part.engine), text(part.category), part.start_ns, part.ns, part.share});
    }
    tandem_seen seen{};
    if (tandem_get_seen(handle, i, &seen) == TANDEM_OK) {
      all.back().seen =
          Seen{seen.core_predicted_ns, seen.unit_predicted_ns, seen.core_ns,   seen.unit_ns,
               seen.unit_share,        seen.core_tiles,        seen.unit_tiles};
    }
  }
  return all;
}

rust::Vec<Value> values(size_t method) {
  rust::Vec<Value> all;
  tandem_value value{};
  const auto* const handle = reinterpret_cast<const tandem_method*>(method);
  tandem_report report{};
  if (tandem_get_report(handle, &report) != TANDEM_OK) {
    return all;
  }
  for (size_t i = 0; i < report.num_values && tandem_get_value(handle, i, &value) == TANDEM_OK; ++i) {
    const auto text = [](const char* bytes) { return rust::String::lossy(bytes); };
    all.push_back(Value{
        text(value.name), text(value.shape), text(value.layout), text(value.copy), text(value.decided), value.bytes});
  }
  return all;
}

void set_threads(uint32_t threads) {
  auto* const pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr || !pool->_unsafe_reset_threadpool(threads)) {
    throw std::runtime_error("ExecuTorch's thread pool cannot be resized");
  }
}

uint64_t cpu_time_ns() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace tandem::cli
