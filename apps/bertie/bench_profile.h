// What `bertie bench --profile` and `--trace` say of each step.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bertie/engine.h"
#include "json.h"

namespace bertie::cli {

// Operations a second that the device was measured to reach in this precision; 0: not measured.
double peak_of(const DeviceInfo& device, std::string_view precision);

// One line a step under a heading: time, operations, bytes, and the share of the device's roofline that they reach.
std::vector<std::string> profile_table(std::span<const StepInfo> steps, std::span<const StepTime> times,
                                       const DeviceInfo& device);

// The same for programs: an object a step, and the device's measured peaks beside them.
Json profile_json(std::span<const StepInfo> steps, std::span<const StepTime> times, const DeviceInfo& device);

// Steps one behind the other as trace events, for chrome://tracing or Perfetto. Throws Error(io).
void write_trace(const std::string& path, std::span<const StepInfo> steps, std::span<const StepTime> times,
                 const DeviceInfo& device);

}  // namespace bertie::cli
