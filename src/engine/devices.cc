#include <algorithm>
#include <fstream>

#include "base/cpu_affinity.h"
#include "base/cpu_topology.h"
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

DeviceInfo cpu_info(int threads) {
  ThreadPool pool(threads);
  const CpuTopology topology = read_cpu_topology(allowed_cpus());
  const cpu::Isa& active = cpu::active_isa();
  DeviceInfo cpu;
  cpu.name = "cpu";
  cpu.description = processor_name();
  cpu.threads = pool.threads();
  cpu.cores = topology.cores();
  cpu.packages = topology.packages();
  cpu.numa_nodes = static_cast<int>(topology.nodes().size());
  cpu.instruction_sets.emplace_back(active.name);
  const auto available = cpu::available_isas();
  for (auto isa = available.rbegin(); isa != available.rend(); ++isa) {
    if (isa->name != active.name) cpu.instruction_sets.emplace_back(isa->name);
  }
  cpu.peak_gflops = cpu::measure_flops(active, pool) / 1e9;
  if (active.kernels->bf16_peak) cpu.peak_bf16_gflops = cpu::measure_bf16_flops(active, pool) / 1e9;
  cpu.peak_int8_gops = cpu::measure_int8_ops(active, pool) / 1e9;
  cpu.bandwidth_gbs = cpu::measure_read_bandwidth(active, pool) / 1e9;
  return cpu;
}

DeviceInfo reference_info() {
  DeviceInfo reference;
  reference.name = "reference";
  reference.description = "plain loops, the oracle of the tests";
  reference.threads = 1;
  return reference;
}

DeviceInfo cuda_info(std::string_view name) {
  const std::shared_ptr<Device> device = cuda_backend().open(name);
  const CudaPeaks peaks = measure_cuda_peaks(*device);
  DeviceInfo info;
  info.name = device->name();
  info.description = device->description();
  info.peak_gflops = peaks.fp32 / 1e9;
  info.peak_tf32_gflops = peaks.tf32 / 1e9;
  info.peak_fp16_gflops = peaks.fp16 / 1e9;
  info.peak_bf16_gflops = peaks.bf16 / 1e9;
  info.bandwidth_gbs = peaks.bandwidth / 1e9;
  info.precisions = cuda_precisions(*device);
  return info;
}

}  // namespace

DeviceInfo device_info(std::string_view name, int threads) {
  const Target target = target_of(name);
  if (name != "cpu" && name != "reference") return cuda_info(target.devices.front());
  DeviceInfo info = name == "cpu" ? cpu_info(threads) : reference_info();
  info.precisions = target.precision_names();
  return info;
}

std::vector<DeviceInfo> devices(int threads) {
  std::vector<DeviceInfo> all{device_info("cpu", threads)};
  try {
    for (const std::string& name : cuda_devices()) all.push_back(device_info(name));
  } catch (const Error& error) {
    DeviceInfo none;
    none.name = "cuda";
    none.description = error.what();
    none.precisions = target_of("cuda").precision_names();
    all.push_back(std::move(none));
  }
  all.push_back(device_info("reference"));
  return all;
}

}  // namespace bertie
