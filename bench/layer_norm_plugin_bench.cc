// The stages of examples/layer_norm_plugin, bertie's own layer_norm and a plain copy, through their kernels on one thread.
//   layer_norm_plugin_bench layer_norm_plugin.so [seconds a shape]
// Times are CPU times of the thread, medians over rounds in which all take turns, so that what else the machine does falls on all
// of them alike. Bytes: x read once and y written once, whatever the kernel does.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "backend/plugin_kernels.h"
#include "bench/kernel_runner.h"
#include "bertie/plugin.h"
#include "cpu/backend.h"

namespace {

using namespace bertie;

struct Contender {
  std::string name;
  double bytes;
  std::function<void()> run;
  std::vector<double> seconds = {};
  double median() {
    std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
    return seconds[seconds.size() / 2];
  }
};

Network network_of(const std::string& op, DType dtype, int64_t width, Attributes attributes) {
  Network network;
  const auto constant = [&](float value) {
    return network.add_constant("c", Tensor::from_floats({width}, std::vector<float>(static_cast<size_t>(width), value)));
  };
  const ValueId x = network.add_input("x", dtype, {"tokens", Dim(width)});
  network.add_node(op, {x, constant(1.5f), constant(0.5f)}, std::move(attributes));
  return network;
}

void measure(int64_t rows, int64_t width, double budget) {
  const std::string op = "bertie.examples::LayerNorm";
  const double elements = static_cast<double>(rows * width);
  std::vector<Contender> contenders;
  std::deque<Network> networks;
  std::vector<std::unique_ptr<bench::KernelRunner>> runners;
  const auto add = [&](std::string name, Network network_given, const Backend& backend, double element_bytes) {
    const Network& network = networks.emplace_back(std::move(network_given));  // its constants are read where they lie
    runners.push_back(std::make_unique<bench::KernelRunner>(network, std::vector<int64_t>{rows}, backend));
    contenders.push_back({std::move(name), 2 * element_bytes * elements, [runner = runners.back().get()] { runner->run(); }});
  };
  std::vector<float> from(static_cast<size_t>(rows * width), 1.0f), to = from;
  contenders.push_back({"copy", 8 * elements, [&] {
                          std::memcpy(to.data(), from.data(), from.size() * sizeof(float));
                          asm volatile("" : : "r"(to.data()) : "memory");
                        }});
  for (int64_t stage : {1, 2, 3})
    add(fmt::format("stage {}", stage), network_of(op, DType::f32, width, {{"stage", stage}}), plugin_cpu_backend(), 4);
  add("stage 3, f16", network_of(op, DType::f16, width, {}), plugin_cpu_backend(), 2);
  add("layer_norm", network_of("layer_norm", DType::f32, width, {{"epsilon", 1e-5}}), cpu_backend(), 4);

  double spent = 0;
  for (int round = -1; round < 9 || spent < budget; ++round) {  // the first round warms up
    for (Contender& contender : contenders) {
      // Enough calls to be far above the clock's grain.
      const int calls = static_cast<int>(std::max(1.0, 2e6 / elements));
      const double start = bench::thread_seconds();
      for (int call = 0; call < calls; ++call) contender.run();
      const double took = bench::thread_seconds() - start;
      spent += took;
      if (round >= 0) contender.seconds.push_back(took / calls);
    }
  }
  const double peak = contenders[0].bytes / contenders[0].median();
  double before = 0;
  const double own = contenders.back().median();
  for (Contender& contender : contenders) {
    const double median = contender.median(), bandwidth = contender.bytes / median;
    const bool stage = contender.name.starts_with("stage");
    std::printf("%6ld x %-5ld %-14s %9.1f us %7.2f GB/s %5.0f%% %s %s\n", static_cast<long>(rows), static_cast<long>(width),
                contender.name.c_str(), median * 1e6, bandwidth * 1e-9, 100 * bandwidth / peak,
                stage && before > 0 ? fmt::format("{:6.2f}", before / median).c_str() : "     -",
                stage ? fmt::format("{:6.2f}", own / median).c_str() : "     -");
    if (stage) before = median;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s layer_norm_plugin.so [seconds a shape]\n", argv[0]);
    return 2;
  }
  load_plugin(argv[1]);
  const double budget = argc > 2 ? std::atof(argv[2]) : 1.0;
  std::printf("%14s %-14s %12s %12s %6s %6s %6s\n", "rows x width", "", "median", "", "copy", "before", "own");
  for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{128, 384}, {128, 768}, {4096, 768}, {16384, 1024}})
    measure(rows, width, budget);
  std::puts("copy: share of the copy's bandwidth; before: times as fast as the stage before; own: as bertie's own layer_norm");
  return 0;
} catch (const bertie::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
