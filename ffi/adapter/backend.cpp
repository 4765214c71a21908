// "TandemBackend" in ExecuTorch's registry.

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <variant>
#include <vector>

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/platform/log.h>

#include "constants.h"
#include "delegate.h"

using executorch::runtime::ArrayRef;
using executorch::runtime::Backend;
using executorch::runtime::BackendExecutionContext;
using executorch::runtime::BackendInitContext;
using executorch::runtime::BackendInterface;
using executorch::runtime::BackendOption;
using executorch::runtime::BackendOptionContext;
using executorch::runtime::CompileSpec;
using executorch::runtime::DelegateHandle;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::get_backend_class;
using executorch::runtime::OptionValue;
using executorch::runtime::Result;
using executorch::runtime::Span;

namespace tandem {
namespace {

constexpr char kName[] = "TandemBackend";
constexpr char kThreads[] = "threads";

// The options a host gave, in tandem_load's form.
struct Options {
  std::vector<std::string> keys;
  std::vector<std::string> values;
  size_t threads = 0;

  std::vector<tandem_option> view() const {
    std::vector<tandem_option> all(keys.size());
    for (size_t i = 0; i < all.size(); ++i) {
      all[i] = tandem_option{keys[i].c_str(), values[i].c_str()};
    }
    return all;
  }
};

std::string to_text(const OptionValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) {
    return *flag ? "true" : "false";
  }
  if (const auto* number = std::get_if<int>(&value)) {
    return std::to_string(*number);
  }
  const auto& text = *std::get_if<std::array<char, executorch::runtime::kMaxOptionValueLength>>(&value);
  return std::string(text.data(), strnlen(text.data(), text.size()));
}

Error read_threads(const BackendOption& option, size_t& threads) {
  const auto* number = std::get_if<int>(&option.value);
  ET_CHECK_OR_RETURN_ERROR(
      number != nullptr && *number >= 0, InvalidArgument, "TandemBackend: option \"threads\" is \"%s\", not a count",
      to_text(option.value).c_str());
  threads = static_cast<size_t>(*number);
  return Error::Ok;
}

// The default of "threads" is the environment variable TANDEM_THREADS.
Error read_environment(Options& options) {
  const char* const text = std::getenv("TANDEM_THREADS");
  if (text == nullptr || *text == '\0') {
    return Error::Ok;
  }
  char* end = nullptr;
  const unsigned long threads = std::strtoul(text, &end, 10);
  ET_CHECK_OR_RETURN_ERROR(
      *end == '\0' && *text != '-' && threads <= 4096, InvalidArgument,
      "TandemBackend: TANDEM_THREADS is \"%s\", not a count", text);
  options.threads = threads;
  return Error::Ok;
}

Error read_options(Span<const BackendOption> given, Options& options) {
  const Error bad_environment = read_environment(options);
  if (bad_environment != Error::Ok) {
    return bad_environment;
  }
  for (const BackendOption& option : given) {
    if (std::strcmp(option.key, kThreads) == 0) {
      const Error error = read_threads(option, options.threads);
      if (error != Error::Ok) {
        return error;
      }
      continue;
    }
    options.keys.emplace_back(option.key);
    options.values.push_back(to_text(option.value));
  }
  return Error::Ok;
}

class TandemBackend final : public BackendInterface {
 public:
  bool is_available() const override { return tandem_abi_version() == TANDEM_ABI_VERSION; }

  Result<DelegateHandle*> init(
      BackendInitContext& context, FreeableBuffer* processed, ArrayRef<CompileSpec>) const override {
    const auto since = Delegate::Clock::now();
    Options options;
    const Error bad_option = read_options(context.runtime_specs(), options);
    if (bad_option != Error::Ok) {
      return bad_option;
    }
    // Planned for as many threads as executes are going to have.
    options.keys.emplace_back(kThreads);
    options.values.push_back(std::to_string(options.threads != 0 ? options.threads : host_threads()));
    const std::vector<tandem_option> load_options = options.view();
    const tandem_constants constants =
        Constants::hand_over(std::make_unique<Constants>(context.get_named_data_map()));
    tandem_method* method = nullptr;
    const tandem_status status = tandem_load(
        processed->data(), processed->size(), &constants, load_options.data(), load_options.size(), &method);
    if (status != TANDEM_OK) {
      ET_LOG(Error, "TandemBackend: loading \"%s\": %s", context.get_method_name(), tandem_last_error());
      return to_error(status);
    }
    processed->Free();
    auto* delegate = new (std::nothrow) Delegate(method, context.get_method_name(), options.threads, since);
    if (delegate == nullptr) {
      tandem_destroy(method);
      return Error::DelegateMemoryAllocationFailed;
    }
    return delegate;
  }

  Error execute(BackendExecutionContext& context, DelegateHandle* handle, Span<EValue*> args) const override {
    if (handle == nullptr) {
      return Error::DelegateInvalidHandle;
    }
    return static_cast<Delegate*>(handle)->execute(
        context.event_tracer(), args, threads_.load(std::memory_order_relaxed));
  }

  void destroy(DelegateHandle* handle) const override { delete static_cast<Delegate*>(handle); }

  Error set_option(BackendOptionContext&, const Span<BackendOption>& options) override {
    for (const BackendOption& option : options) {
      ET_CHECK_OR_RETURN_ERROR(
          std::strcmp(option.key, kThreads) == 0, InvalidArgument, "TandemBackend: there is no global option \"%s\"",
          option.key);
      size_t threads = 0;
      const Error error = read_threads(option, threads);
      if (error != Error::Ok) {
        return error;
      }
      threads_.store(threads, std::memory_order_relaxed);
    }
    return Error::Ok;
  }

  Error get_option(BackendOptionContext&, Span<BackendOption>& options) override {
    for (BackendOption& option : options) {
      if (std::strcmp(option.key, kThreads) == 0) {
        option.value = static_cast<int>(threads_.load(std::memory_order_relaxed));
      }
    }
    return Error::Ok;
  }

 private:
  std::atomic<size_t> threads_{0};
};

}  // namespace
}  // namespace tandem

extern "C" int tandem_register(void) {
  // A second copy of this library in the process is harmless: the first one serves.
  if (get_backend_class(tandem::kName) != nullptr) {
    return 0;
  }
  static tandem::TandemBackend* const backend = new tandem::TandemBackend();
  const Error error = executorch::runtime::register_backend(Backend{tandem::kName, backend});
  if (error != Error::Ok) {
    ET_LOG(Error, "TandemBackend: cannot be registered: error 0x%x", static_cast<unsigned>(error));
  }
  return static_cast<int>(error);
}

namespace {
[[maybe_unused]] const int registered = tandem_register();
}  // namespace
