#include "bench_profile.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "base/atomic_file.h"

namespace bertie::cli {
namespace {

double seconds_of(const StepTime& time) { return std::max(time.milliseconds, 1e-9) * 1e-3; }

// Of the time, the part that the step would need if it did nothing but its products, or its reading and writing, at the measured peak.
double roofline_share(const StepInfo& step, const StepTime& time, const DeviceInfo& device) {
  const double peak = peak_of(device, step.precision), bandwidth = device.bandwidth_gbs * 1e9;
  return std::max(peak > 0 ? time.flops / peak : 0, bandwidth > 0 ? time.bytes / bandwidth : 0) / seconds_of(time);
}

}  // namespace

double peak_of(const DeviceInfo& device, std::string_view precision) {
  if (precision == "int8") return device.peak_int8_gops * 1e9;
  if (precision == "fp8") return 0;  // not measured
  if (precision == "tf32") return device.peak_tf32_gflops * 1e9;
  if (precision == "fp16") return device.peak_fp16_gflops * 1e9;
  if (precision == "bf16") return device.peak_bf16_gflops * 1e9;
  return device.peak_gflops * 1e9;
}

std::vector<std::string> profile_table(std::span<const StepInfo> steps, std::span<const StepTime> times,
                                       const DeviceInfo& device) {
  const double total =
      std::accumulate(times.begin(), times.end(), 0.0, [](double sum, const StepTime& time) { return sum + time.milliseconds; });
  std::vector<std::string> lines = {fmt::format("  {:>9} {:>6} {:>9} {:>8} {:>6}  {:<20} {:<24} {}", "ms", "share", "GFLOP/s",
                                                "GB/s", "peak", "op", "kernel", "step")};
  for (size_t i = 0; i < times.size(); ++i) {
    const StepInfo& step = steps[i];
    const StepTime& time = times[i];
    lines.push_back(fmt::format("  {:>9.4f} {:>5.1f}% {:>9.1f} {:>8.1f} {:>5.1f}%  {:<20} {:<24} {}", time.milliseconds,
                                total > 0 ? 100 * time.milliseconds / total : 0, time.flops / seconds_of(time) * 1e-9,
                                time.bytes / seconds_of(time) * 1e-9, 100 * roofline_share(step, time, device), step.op,
                                step.kernel, step.name));
  }
  return lines;
}

Json profile_json(std::span<const StepInfo> steps, std::span<const StepTime> times, const DeviceInfo& device) {
  Json list = Json::array();
  for (size_t i = 0; i < times.size(); ++i) {
    list.push_back({{"name", steps[i].name},
                    {"op", steps[i].op},
                    {"kernel", steps[i].kernel},
                    {"precision", steps[i].precision},
                    {"ms", rounded(times[i].milliseconds)},
                    {"flops", times[i].flops},
                    {"bytes", times[i].bytes},
                    {"peak_share", rounded(roofline_share(steps[i], times[i], device))}});
  }
  Json peaks = {{"bandwidth_gbs", rounded(device.bandwidth_gbs)}};
  for (const char* precision : {"fp32", "tf32", "fp16", "bf16", "int8"}) {
    if (const double peak = peak_of(device, precision); peak > 0) peaks["gflops"][precision] = rounded(peak / 1e9);
  }
  return {{"peaks", std::move(peaks)}, {"steps", std::move(list)}};
}

void write_trace(const std::string& path, std::span<const StepInfo> steps, std::span<const StepTime> times,
                 const DeviceInfo& device) {
  Json events = Json::array();
  events.push_back(
      {{"name", "process_name"}, {"ph", "M"}, {"pid", 0}, {"args", {{"name", device.name + ": " + device.description}}}});
  double at = 0;  // microseconds, the format's unit
  for (size_t i = 0; i < times.size(); ++i) {
    const double duration = times[i].milliseconds * 1e3;
    events.push_back({{"name", steps[i].name},
                      {"cat", steps[i].op},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", 0},
                      {"ts", at},
                      {"dur", duration},
                      {"args",
                       {{"kernel", steps[i].kernel},
                        {"precision", steps[i].precision},
                        {"flops", times[i].flops},
                        {"bytes", times[i].bytes},
                        {"peak_share", rounded(roofline_share(steps[i], times[i], device))}}}});
    at += duration;
  }
  write_file_atomically(path, Json{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}.dump() + "\n");
}

}  // namespace bertie::cli
