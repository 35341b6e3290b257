#include <algorithm>
#include <fstream>

#include "base/thread_pool.h"
#include "bertie/engine.h"
#include "cpu/isa.h"
#include "cpu/peak.h"
#include "cuda/backend.h"
#include "engine/backends.h"

namespace bertie {
namespace {

// "AMD EPYC 9354 32-Core Processor", as Linux names it.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

}  // namespace

std::vector<DeviceInfo> devices(int threads) {
  ThreadPool pool(threads);
  const cpu::Isa& active = cpu::active_isa();
  DeviceInfo cpu;
  cpu.name = "cpu";
  cpu.description = processor_name();
  cpu.threads = pool.threads();
  cpu.instruction_sets.emplace_back(active.name);
  const auto available = cpu::available_isas();
  for (auto isa = available.rbegin(); isa != available.rend(); ++isa) {
    if (isa->name != active.name) cpu.instruction_sets.emplace_back(isa->name);
  }
  cpu.precisions = target_of(cpu.name).precisions;
  cpu.peak_gflops = cpu::measure_flops(active, pool) / 1e9;
  cpu.peak_int8_gops = cpu::measure_int8_ops(active, pool) / 1e9;
  cpu.bandwidth_gbs = cpu::measure_read_bandwidth(active, pool) / 1e9;

  DeviceInfo reference;
  reference.name = "reference";
  reference.description = "plain loops, the oracle of the tests";
  reference.threads = 1;
  reference.precisions = target_of(reference.name).precisions;
  std::vector<DeviceInfo> all{cpu};
  for (const CudaDeviceInfo& gpu : cuda_devices()) {
    DeviceInfo info;
    info.name = gpu.name;
    info.description = gpu.description;
    info.precisions = target_of(gpu.name).precisions;
    info.peak_gflops = gpu.peak_gflops;
    info.bandwidth_gbs = gpu.bandwidth_gbs;
    all.push_back(std::move(info));
  }
  all.push_back(reference);
  return all;
}

}  // namespace bertie
