#include "model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>

#include <executorch/runtime/core/exec_aten/util/scalar_type_util.h>

// The wheel ships this library without its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

using executorch::aten::ScalarType;
using executorch::extension::Module;
using executorch::runtime::BackendOption;
using executorch::runtime::Error;
using executorch::runtime::EValue;

namespace app {
namespace {

void check(Error error, const std::string& what) {
  if (error != Error::Ok) {
    throw Failure(what + ": " + executorch::runtime::to_string(error));
  }
}

template <typename T>
T check(executorch::runtime::Result<T> result, const std::string& what) {
  check(result.error(), what);
  return std::move(result.get());
}

// Numbers become int options, everything else text.
std::vector<BackendOption> parse_options(const std::vector<std::string>& texts) {
  std::vector<BackendOption> options;
  for (const std::string& text : texts) {
    const size_t at = text.find('=');
    const std::string value = at == std::string::npos ? "" : text.substr(at + 1);
    BackendOption option{};
    std::array<char, executorch::runtime::kMaxOptionValueLength> chars{};
    if (value.empty() || at >= sizeof(option.key) || value.size() >= chars.size()) {
      throw Failure("option " + text + " is not key=value");
    }
    std::copy_n(text.begin(), at, option.key);
    if (value.find_first_not_of("0123456789") == std::string::npos) {
      option.value = std::stoi(value);
    } else {
      std::copy(value.begin(), value.end(), chars.begin());
      option.value = chars;
    }
    options.push_back(option);
  }
  return options;
}

// SplitMix64.
uint64_t next(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void fill_values(ScalarType type, std::vector<uint8_t>& bytes, uint64_t seed) {
  uint64_t state = seed;
  if (type == ScalarType::Float) {
    for (size_t at = 0; at + 4 <= bytes.size(); at += 4) {
      const float value = static_cast<float>(next(state) >> 40) * 0x1p-23f - 1.0f;
      std::memcpy(&bytes[at], &value, 4);
    }
    return;
  }
  if (type == ScalarType::Half) {
    for (size_t at = 0; at + 2 <= bytes.size(); at += 2) {
      const executorch::aten::Half value = static_cast<float>(next(state) >> 56) * 0x1p-7f - 1.0f;
      std::memcpy(&bytes[at], &value, 2);
    }
    return;
  }
  const size_t width = executorch::runtime::elementSize(type);
  std::fill(bytes.begin(), bytes.end(), uint8_t{0});
  for (size_t at = 0; at + width <= bytes.size(); at += width) {
    bytes[at] = static_cast<uint8_t>(next(state) >> 63);
  }
}

}  // namespace

Model::Model(const std::string& path, const std::string& method, const std::vector<std::string>& options)
    : name_(path), method_(method), module_(std::make_unique<Module>(path, Module::LoadMode::Mmap)) {
  std::vector<BackendOption> parsed = parse_options(options);
  executorch::runtime::LoadBackendOptionsMap map;
  check(map.set_options("TandemBackend", {parsed.data(), parsed.size()}), "setting options");
  check(module_->load(map), "loading " + path);
  if (method_.empty()) {
    const auto names = check(module_->method_names(), "reading the methods of " + path);
    method_ = names.count("forward") != 0 || names.empty() ? "forward" : *names.begin();
  }
  name_ += ":" + method_;
  check(module_->load_method(method_), "loading " + name_);
  const auto meta = check(module_->method_meta(method_), "reading " + name_);
  for (size_t i = 0; i < meta.num_inputs(); ++i) {
    const auto info = check(meta.input_tensor_meta(i), "input " + std::to_string(i) + " of " + name_);
    std::vector<executorch::aten::SizesType> sizes(info.sizes().begin(), info.sizes().end());
    std::vector<executorch::aten::DimOrderType> order(info.dim_order().begin(), info.dim_order().end());
    data_.emplace_back(info.nbytes());
    tensors_.push_back(executorch::extension::make_tensor_ptr(
        std::move(sizes), data_.back().data(), std::move(order), {}, info.scalar_type()));
    inputs_.emplace_back(tensors_.back());
  }
}

void Model::fill(uint64_t seed) {
  for (size_t i = 0; i < data_.size(); ++i) {
    fill_values(tensors_[i]->scalar_type(), data_[i], seed + i);
  }
}

void Model::fill_from(size_t input, const std::string& path) {
  const std::vector<uint8_t> bytes = read_file(path);
  if (input >= data_.size() || bytes.size() != data_[input].size()) {
    throw Failure(path + ": " + std::to_string(bytes.size()) + " bytes do not fit input " + std::to_string(input));
  }
  std::copy(bytes.begin(), bytes.end(), data_[input].begin());
}

void Model::run() { results_ = check(module_->execute(method_, inputs_), "executing " + name_); }

std::vector<std::vector<uint8_t>> Model::outputs() {
  std::vector<std::vector<uint8_t>> all;
  for (const EValue& value : results_) {
    if (value.isTensor()) {
      const auto& tensor = value.toTensor();
      const auto* data = static_cast<const uint8_t*>(tensor.const_data_ptr());
      all.emplace_back(data, data + tensor.nbytes());
    }
  }
  return all;
}

ScalarType Model::output_type(size_t index) {
  for (const EValue& value : results_) {
    if (value.isTensor() && index-- == 0) {
      return value.toTensor().scalar_type();
    }
  }
  throw Failure(name_ + " has no such output");
}

std::string Model::describe_output(size_t index) {
  if (!results_.at(index).isTensor()) {
    return "no tensor";
  }
  const auto& tensor = results_[index].toTensor();
  std::string text = std::string(executorch::runtime::toString(tensor.scalar_type())) + " [";
  for (ssize_t d = 0; d < tensor.dim(); ++d) {
    text += (d == 0 ? "" : ", ") + std::to_string(tensor.size(d));
  }
  return text + "]";
}

uint64_t checksum(const std::vector<uint8_t>& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const uint8_t byte : bytes) {
    hash = (hash ^ byte) * 0x100000001b3u;
  }
  return hash;
}

std::vector<uint8_t> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw Failure("cannot read " + path);
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) {
    throw Failure("cannot write " + path);
  }
}

void set_threads(uint32_t threads) {
  auto* const pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr || !pool->_unsafe_reset_threadpool(threads)) {
    throw Failure("ExecuTorch's thread pool cannot be resized");
  }
}

uint64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) {
      return std::stoull(line.substr(6)) * 1024;
    }
  }
  throw Failure("/proc/self/status has no VmHWM");
}

uint64_t peak_growth(uint64_t before) {
  // The kernel adds its threads' counters up now and then: a later answer may be the smaller one.
  return std::max(peak_resident_bytes(), before) - before;
}

}  // namespace app
