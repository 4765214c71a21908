// A .pte file, its inputs and its outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor_ptr.h>

namespace app {

// Anything that ends the program with a message.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Model {
 public:
  // Maps a file and loads one of its methods: "" is "forward" or the only one. `options` are Tandem's, "key=value" each.
  explicit Model(
      const std::string& path, const std::string& method = "", const std::vector<std::string>& options = {});

  // Fills all inputs: reproducible values in [-1, 1) for floats, 0 or 1 for the rest.
  void fill(uint64_t seed);
  // Fills one input with a file's raw bytes.
  void fill_from(size_t input, const std::string& path);

  // Runs the method once.
  void run();

  // Raw bytes of the last run's outputs.
  std::vector<std::vector<uint8_t>> outputs();
  // Element type of an output of the last run, counted among its tensors as `outputs` does.
  executorch::aten::ScalarType output_type(size_t index);
  // Name and method, for messages.
  const std::string& name() const { return name_; }
  // "f32 [1, 3, 8, 8]" of the last run's output.
  std::string describe_output(size_t index);

 private:
  std::string name_;
  std::string method_;
  std::unique_ptr<executorch::extension::Module> module_;
  std::vector<std::vector<uint8_t>> data_;
  std::vector<executorch::extension::TensorPtr> tensors_;
  std::vector<executorch::runtime::EValue> inputs_;
  std::vector<executorch::runtime::EValue> results_;
};

// 64-bit FNV-1a.
uint64_t checksum(const std::vector<uint8_t>& bytes);

// A whole file.
std::vector<uint8_t> read_file(const std::string& path);

void write_file(const std::string& path, const std::vector<uint8_t>& bytes);

// Threads ExecuTorch's pool has from now on.
void set_threads(uint32_t threads);

// Peak resident size of this process in bytes.
uint64_t peak_resident_bytes();

// How much it has grown since it was `before`.
uint64_t peak_growth(uint64_t before);

}  // namespace app
