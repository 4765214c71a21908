// ExecuTorch's Module for the Rust side; src/bridge.rs documents the functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor_ptr.h>

#include "rust/cxx.h"

namespace tandem::cli {

class Collector;
struct Delegate;
struct Event;
struct LoadTimes;
struct Setting;
struct Step;
struct TensorMeta;
struct Value;

class Host {
 public:
  Host(const std::string& path, const std::string& method, bool trace, rust::Slice<const Setting> settings);
  ~Host();

  LoadTimes load_times() const;
  rust::Vec<TensorMeta> inputs() const;
  void set_input(size_t index, rust::Slice<const uint8_t> bytes, rust::Slice<const size_t> sizes);
  void execute();
  rust::Vec<TensorMeta> outputs() const;
  rust::Vec<uint8_t> output(size_t index) const;
  void keep_shapes(bool keep);
  rust::Vec<Event> take_events();

 private:
  std::string method_;
  std::unique_ptr<executorch::extension::Module> module_;
  Collector* collector_ = nullptr;
  uint64_t program_ns_ = 0;
  uint64_t method_ns_ = 0;
  std::vector<std::vector<uint8_t>> data_;
  std::vector<executorch::extension::TensorPtr> tensors_;
  std::vector<executorch::runtime::EValue> inputs_;
  std::vector<executorch::runtime::EValue> results_;
};

std::unique_ptr<Host> load(rust::Str path, rust::Str method, bool trace, rust::Slice<const Setting> settings);
rust::Vec<Delegate> delegates();
rust::Vec<Step> steps(size_t method);
rust::Vec<Value> values(size_t method);
void set_threads(uint32_t threads);
uint64_t cpu_time_ns();

}  // namespace tandem::cli
