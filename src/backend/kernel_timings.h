// What KernelTimings (bertie/engine.h) holds: which kernels were timed on which step of which machine.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bertie/engine.h"

namespace bertie {

// What a step is, as far as its kernels' times depend on it.
struct TimedProblem {
  std::string bertie;    // the version that measured
  std::string machine;   // "cpu avx2 avx512, 2 threads"
  std::string op;        // "linear"
  std::string operands;  // "f32 [tokens, 384], f32 [1536, 384], f32 [1536]; activation=gelu"

  auto operator<=>(const TimedProblem&) const = default;  // NOLINT(modernize-use-nullptr)
};

// Kernels timed one beside the other, each with one time for each token count.
struct KernelTimes {
  std::vector<int64_t> tokens;
  std::map<std::string, std::vector<double>> milliseconds;  // by the kernel's name
};

struct KernelTimings::Impl {
  mutable std::mutex mutex;
  std::map<TimedProblem, KernelTimes> entries;
  std::string path;  // empty: kept in memory
  std::string problem;
  bool changed = false;

  std::optional<KernelTimes> find(const TimedProblem& problem) const;
  void add(const TimedProblem& problem, KernelTimes times);
  // The machines that this version has timed anything on.
  std::vector<std::string> machines() const;
  // Writes the file where there is one and something is new.
  void flush();

  nlohmann::json json() const;
  // Throws Error(invalid_file) naming `file`.
  void read(const nlohmann::json& json, const std::string& file);
};

}  // namespace bertie
