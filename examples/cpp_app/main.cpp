// Runs .pte files with Tandem from C++.
//
//   cpp_app model.pte [--repeat 3] [--threads 2] [--method forward] [--seed 1] [--input file.bin]...
//           [--output file.bin] [--expect file.bin]... [--tolerance 1e-4] [--rss] [--option algorithm=direct]...
//   cpp_app a.pte b.pte            two programs in one process, in turn
//   cpp_app a.pte [b.pte] --parallel [--methods m1,m2]   each on a thread of its own
//   cpp_app a.pte --reload 50      loads, runs and unloads again and again
//   cpp_app a.pte --phases         loads, runs twice, and marks phases 1, 2 and 3 for a counting emulator
//
// Prints a checksum of each output. Every mode checks that a program gives the same bits each time it runs; a difference
// ends it with status 1. Files hold raw little-endian elements in the tensor's dim order.

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "compare.h"
#include "model.h"
#include "tandem_executorch.h"

using app::Failure;
using app::Model;

namespace {

struct Options {
  std::vector<std::string> files;
  std::vector<std::string> inputs;
  std::vector<std::string> methods;
  std::vector<std::string> backend;
  std::string output;
  std::vector<std::string> expect;
  double tolerance = 1e-4;
  uint64_t seed = 1;
  size_t repeat = 1;
  size_t threads = 0;
  size_t reload = 0;
  bool parallel = false;
  bool phases = false;
  bool rss = false;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

Options parse(int argc, char** argv) {
  Options options;
  const std::vector<std::string> args(argv + 1, argv + argc);
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 >= args.size()) {
        throw Failure(arg + " needs a value");
      }
      return args[++i];
    };
    if (arg == "--repeat") {
      options.repeat = std::max<size_t>(1, std::stoul(value()));
    } else if (arg == "--threads") {
      options.threads = std::stoul(value());
    } else if (arg == "--seed") {
      options.seed = std::stoul(value());
    } else if (arg == "--input") {
      options.inputs.push_back(value());
    } else if (arg == "--option") {
      options.backend.push_back(value());
    } else if (arg == "--output") {
      options.output = value();
    } else if (arg == "--expect") {
      options.expect.push_back(value());
    } else if (arg == "--tolerance") {
      options.tolerance = std::stod(value());
    } else if (arg == "--method" || arg == "--methods") {
      options.methods = split(value());
    } else if (arg == "--reload") {
      options.reload = std::stoul(value());
    } else if (arg == "--parallel") {
      options.parallel = true;
    } else if (arg == "--phases") {
      options.phases = true;
    } else if (arg == "--rss") {
      options.rss = true;
    } else if (arg.rfind("--", 0) == 0) {
      throw Failure("unknown option " + arg);
    } else {
      options.files.push_back(arg);
    }
  }
  if (options.files.empty()) {
    throw Failure("no .pte file given");
  }
  return options;
}

std::string method_of(const Options& options, size_t index) {
  return index < options.methods.size() ? options.methods[index] : "";
}

void fill(Model& model, const Options& options) {
  model.fill(options.seed);
  for (size_t i = 0; i < options.inputs.size(); ++i) {
    model.fill_from(i, options.inputs[i]);
  }
}

void expect_same(const Model& model, const std::vector<std::vector<uint8_t>>& first,
                 const std::vector<std::vector<uint8_t>>& now) {
  if (first != now) {
    throw Failure(model.name() + ": another answer for the same inputs");
  }
}

// Runs a model several times and returns its first answer.
std::vector<std::vector<uint8_t>> repeat(Model& model, size_t times) {
  model.run();
  const auto first = model.outputs();
  for (size_t i = 1; i < times; ++i) {
    model.run();
    expect_same(model, first, model.outputs());
  }
  return first;
}

void print_outputs(Model& model, const std::vector<std::vector<uint8_t>>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::printf("%s output %zu: %s checksum %016llx\n", model.name().c_str(), i, model.describe_output(i).c_str(),
                static_cast<unsigned long long>(app::checksum(outputs[i])));
  }
}

// Compares an output with a file of its elements.
void expect(Model& model, size_t index, const std::vector<uint8_t>& output, const Options& options) {
  const std::string& path = options.expect[index];
  const std::vector<uint8_t> expected = app::read_file(path);
  if (expected.size() != output.size()) {
    throw Failure(path + ": " + std::to_string(expected.size()) + " bytes, the output has " +
                  std::to_string(output.size()));
  }
  const app::Difference difference = app::compare(model.output_type(index), output, expected);
  std::printf("max_abs_err %.3e max_rel_err %.3e\n", difference.worst, difference.relative);
  if (difference.relative > options.tolerance) {
    throw Failure(path + ": the output differs by more than " + std::to_string(options.tolerance) + " of the range");
  }
}

// Writes the first output and compares as many as expected ones are given.
void deliver(Model& model, const std::vector<std::vector<uint8_t>>& outputs, const Options& options) {
  if (!options.output.empty()) {
    app::write_file(options.output, outputs.at(0));
  }
  for (size_t i = 0; i < options.expect.size(); ++i) {
    expect(model, i, outputs.at(i), options);
  }
}

void print_memory(uint64_t before) {
  const uint64_t growth = app::peak_growth(before);
  std::vector<tandem_delegate> delegates(tandem_list_delegates(nullptr, 0));
  delegates.resize(std::min(delegates.size(), tandem_list_delegates(delegates.data(), delegates.size())));
  tandem_report sum{};
  uint64_t init_ns = 0;
  for (const tandem_delegate& delegate : delegates) {
    tandem_report one{};
    if (tandem_get_report(delegate.method, &one) != TANDEM_OK) {
      throw Failure(tandem_last_error());
    }
    sum.arena_bytes += one.arena_bytes;
    sum.live_bytes += one.live_bytes;
    sum.scratch_bytes += one.scratch_bytes;
    sum.weight_bytes += one.weight_bytes;
    sum.plan_ns += one.plan_ns;
    init_ns += delegate.init_ns;
  }
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("rss_growth_bytes %llu weight_bytes %llu arena_bytes %llu live_bytes %llu scratch_bytes %llu\n",
              number(growth), number(sum.weight_bytes), number(sum.arena_bytes), number(sum.live_bytes),
              number(sum.scratch_bytes));
  std::printf("delegates %zu init_ms %.3f plan_ms %.3f\n", delegates.size(), static_cast<double>(init_ns) * 1e-6,
              static_cast<double>(sum.plan_ns) * 1e-6);
}

void run_in_turn(const Options& options) {
  const uint64_t before = app::peak_resident_bytes();
  std::vector<std::unique_ptr<Model>> models;
  for (size_t i = 0; i < options.files.size(); ++i) {
    models.push_back(std::make_unique<Model>(options.files[i], method_of(options, i), options.backend));
    fill(*models.back(), options);
  }
  std::vector<std::vector<std::vector<uint8_t>>> first(models.size());
  const size_t times = options.rss ? std::max<size_t>(3, options.repeat) : options.repeat;
  for (size_t round = 0; round < times; ++round) {
    for (size_t i = 0; i < models.size(); ++i) {
      models[i]->run();
      if (round == 0) {
        first[i] = models[i]->outputs();
      } else {
        expect_same(*models[i], first[i], models[i]->outputs());
      }
    }
    if (options.rss && round == 2) {
      print_memory(before);
    }
  }
  for (size_t i = 0; i < models.size(); ++i) {
    print_outputs(*models[i], first[i]);
  }
  deliver(*models[0], first[0], options);
}

void run_in_parallel(const Options& options) {
  std::vector<std::string> files = options.files;
  while (files.size() < std::max<size_t>(2, options.methods.size())) {
    files.push_back(files.back());
  }
  std::vector<std::unique_ptr<Model>> models;
  std::vector<std::vector<std::vector<uint8_t>>> alone;
  for (size_t i = 0; i < files.size(); ++i) {
    models.push_back(std::make_unique<Model>(files[i], method_of(options, i), options.backend));
    fill(*models[i], options);
    alone.push_back(repeat(*models[i], 1));
  }
  std::vector<std::exception_ptr> failures(models.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < models.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        expect_same(*models[i], alone[i], repeat(*models[i], options.repeat));
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  }
  for (size_t i = 0; i < models.size(); ++i) {
    print_outputs(*models[i], alone[i]);
  }
}

void run_reloading(const Options& options) {
  std::vector<std::vector<uint8_t>> first;
  uint64_t early = 0;
  for (size_t i = 0; i < options.reload; ++i) {
    Model model(options.files[0], method_of(options, 0), options.backend);
    fill(model, options);
    const auto answer = repeat(model, options.repeat);
    if (i == 0) {
      first = answer;
      print_outputs(model, first);
    }
    expect_same(model, first, answer);
    if (i == std::min<size_t>(4, options.reload - 1)) {
      early = app::peak_resident_bytes();
    }
  }
  std::printf("reloads %zu left_delegates %zu rss_growth_bytes %llu\n", options.reload,
              tandem_list_delegates(nullptr, 0), static_cast<unsigned long long>(app::peak_growth(early)));
}

// 1 is loading, 2 the first run, 3 a steady one, 4 everything else. Linux knows no such call and refuses it.
void mark_phase(long number) { syscall(0x1c0de, number); }

void run_in_phases(const Options& options) {
  mark_phase(1);
  Model model(options.files[0], method_of(options, 0), options.backend);
  mark_phase(4);
  fill(model, options);
  mark_phase(2);
  model.run();
  mark_phase(4);
  const auto first = model.outputs();
  mark_phase(3);
  model.run();
  mark_phase(4);
  expect_same(model, first, model.outputs());
  print_outputs(model, first);
  deliver(model, first, options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    if (options.threads != 0) {
      app::set_threads(static_cast<uint32_t>(options.threads));
    }
    if (options.phases) {
      run_in_phases(options);
    } else if (options.reload != 0) {
      run_reloading(options);
    } else if (options.parallel) {
      run_in_parallel(options);
    } else {
      run_in_turn(options);
    }
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "cpp_app: %s\n", failure.what());
    return 1;
  }
}
