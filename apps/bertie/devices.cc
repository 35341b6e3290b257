// `bertie devices`: what this machine offers.
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bertie/engine.h"
#include "json.h"
#include "options.h"
#include "output.h"

namespace bertie::cli {
namespace {

Json to_json(const DeviceInfo& device) {
  return {{"name", device.name},
          {"description", device.description},
          {"threads", device.threads},
          {"cores", device.cores},
          {"packages", device.packages},
          {"numa_nodes", device.numa_nodes},
          {"instruction_sets", device.instruction_sets},
          {"precisions", device.precisions},
          {"peak_gflops", rounded(device.peak_gflops)},
          {"peak_tf32_gflops", rounded(device.peak_tf32_gflops)},
          {"peak_fp16_gflops", rounded(device.peak_fp16_gflops)},
          {"peak_bf16_gflops", rounded(device.peak_bf16_gflops)},
          {"peak_int8_gops", rounded(device.peak_int8_gops)},
          {"bandwidth_gbs", rounded(device.bandwidth_gbs)}};
}

std::string to_table(const DeviceInfo& device) {
  std::string table = fmt::format("{}: {}\n", device.name, device.description);
  if (device.cores > 0) {
    const auto counted = [](int count, const char* noun) { return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s"); };
    table += fmt::format("  cores             {} with {}, {}, {}\n", device.cores, counted(device.threads, "thread"),
                         counted(device.packages, "package"), counted(device.numa_nodes, "NUMA node"));
  } else if (device.threads > 0) {
    table += fmt::format("  threads           {}\n", device.threads);
  }
  if (!device.instruction_sets.empty()) {
    table += fmt::format("  instruction sets  {} (the first is in use)\n", fmt::join(device.instruction_sets, ", "));
  }
  table += fmt::format("  precisions        {}", fmt::join(device.precisions, ", "));
  if (device.peak_gflops > 0) table += fmt::format("\n  measured peak     {:.0f} GFLOP/s in fp32", device.peak_gflops);
  const auto add_peak = [&](double gflops, const char* precision) {
    if (gflops > 0) table += fmt::format(", {:.0f} in {}", gflops, precision);
  };
  add_peak(device.peak_tf32_gflops, "tf32");
  add_peak(device.peak_fp16_gflops, "fp16");
  add_peak(device.peak_bf16_gflops, "bf16");
  if (device.peak_int8_gops > 0) table += fmt::format(", {:.0f} GOP/s in int8", device.peak_int8_gops);
  if (device.bandwidth_gbs > 0) table += fmt::format("\n  measured memory   {:.1f} GB/s", device.bandwidth_gbs);
  return table;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  auto json = std::make_shared<bool>(false);
  CLI::App& command = *app.add_subcommand("devices", "Processors, instruction sets, precisions and measured peaks");
  command.add_flag("--json", *json, "One JSON object a line on standard output");
  command.callback([json, &action] {
    action = [json] {
      for (const DeviceInfo& device : devices()) write_line(*json ? to_line(to_json(device)) : to_table(device));
      return 0;
    };
  });
}

}  // namespace bertie::cli
