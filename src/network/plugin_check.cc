#include "network/plugin_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string_view>

#include "network/plugin_registry.h"

namespace bertie {
namespace {

constexpr int64_t kMostOps = 1024;
constexpr int64_t kMostKernels = 64;
constexpr int64_t kMostAttributes = 256;

bool is_word(const char* text) {
  if (!text || !*text) return false;
  const std::string_view view = text;
  return std::all_of(view.begin(), view.end(), [](char c) { return c > ' ' && c != '\x7f'; });
}

// "domain::Name", both there.
bool is_op_name(const char* text) {
  if (!is_word(text)) return false;
  const std::string_view view = text;
  const size_t colons = view.find("::");
  return colons != std::string_view::npos && colons > 0 && colons + 2 < view.size() && view[colons + 2] != ':';
}

bool has_value(const BertieAttribute& attribute) {
  if (attribute.required) return true;
  if (attribute.type == BERTIE_TEXT) return attribute.text && attribute.count >= 0;
  const bool list = attribute.type == BERTIE_INTEGERS || attribute.type == BERTIE_REALS;
  if (!list) return true;
  const void* data = attribute.type == BERTIE_INTEGERS ? static_cast<const void*>(attribute.integers)
                                                       : static_cast<const void*>(attribute.reals);
  return attribute.count == 0 || (attribute.count > 0 && data);
}

std::string attribute_fault(const BertieAttribute& attribute) {
  if (!is_word(attribute.name)) return "an attribute has no name";
  if (attribute.name == kPluginVersion) return fmt::format("attribute '{}' is bertie's own", kPluginVersion);
  if (attribute.type < BERTIE_INTEGER || attribute.type > BERTIE_REALS)
    return fmt::format("attribute '{}' has no such type: {}", attribute.name, attribute.type);
  if (!has_value(attribute)) return fmt::format("attribute '{}' has no default", attribute.name);
  return "";
}

std::string kernel_fault(const BertieKernel* kernel) {
  if (!kernel) return "a kernel is missing";
  if (kernel->size < sizeof(BertieKernel)) return fmt::format("a kernel's description has {} bytes", kernel->size);
  if (!is_word(kernel->name) || !is_word(kernel->device)) return "a kernel has no name or no device";
  if (!kernel->prepare || !kernel->release || !kernel->run)
    return fmt::format("kernel '{}' lacks prepare, release or run", kernel->name);
  return "";
}

std::string op_fault(const BertieOp& op) {
  if (op.version < 1) return fmt::format("version {}, but versions count from 1", op.version);
  if (!op.infer) return "it has no shape rule";
  if (op.input_count < 0 || op.input_count > kMostPluginValues || op.required_inputs < 0 || op.required_inputs > op.input_count)
    return fmt::format("{} of {} inputs required; at most {} are taken", op.required_inputs, op.input_count, kMostPluginValues);
  if (op.variadic && op.input_count == 0) return "variadic, without an input";
  if (op.input_count > 0 && !op.inputs) return "its inputs have no names";
  std::set<std::string_view> names;
  for (int64_t i = 0; i < op.input_count; ++i) {
    if (!is_word(op.inputs[i])) return fmt::format("input {} has no name", i);
    if (!names.insert(op.inputs[i]).second) return fmt::format("input '{}' is named twice", op.inputs[i]);
  }
  if (op.attribute_count < 0 || op.attribute_count > kMostAttributes || (op.attribute_count > 0 && !op.attributes))
    return fmt::format("{} attributes; at most {} are taken", op.attribute_count, kMostAttributes);
  names.clear();
  for (int64_t i = 0; i < op.attribute_count; ++i) {
    if (std::string fault = attribute_fault(op.attributes[i]); !fault.empty()) return fault;
    if (!names.insert(op.attributes[i].name).second) return fmt::format("attribute '{}' is named twice", op.attributes[i].name);
  }
  if (op.kernel_count < 0 || op.kernel_count > kMostKernels || (op.kernel_count > 0 && !op.kernels))
    return fmt::format("{} kernels; at most {} are taken", op.kernel_count, kMostKernels);
  for (int64_t i = 0; i < op.kernel_count; ++i) {
    if (std::string fault = kernel_fault(op.kernels[i]); !fault.empty()) return fault;
  }
  if (op.kernel_count == 0 && !op.compose) return "it has neither a kernel nor a composition";
  return "";
}

std::string calibrator_fault(const BertieCalibrator* calibrator, int64_t index) {
  if (!calibrator) return fmt::format("calibrator {} is missing", index);
  if (calibrator->size < sizeof(BertieCalibrator))
    return fmt::format("calibrator {}'s description has {} bytes", index, calibrator->size);
  if (!is_op_name(calibrator->name)) return fmt::format("calibrator {} is not named domain::Name", index);
  if (!calibrator->threshold) return fmt::format("calibrator '{}' has no threshold", calibrator->name);
  return "";
}

}  // namespace

int64_t calibrator_count(const BertiePlugin& plugin) { return plugin.size < sizeof(BertiePlugin) ? 0 : plugin.calibrator_count; }

std::string description_fault(const BertiePlugin& plugin) {
  if (plugin.size < offsetof(BertiePlugin, calibrator_count)) return fmt::format("its description has {} bytes", plugin.size);
  if (plugin.error) return plugin.error;
  if (!is_word(plugin.name) || !is_word(plugin.version)) return "it has no name or no version";
  const int64_t calibrators = calibrator_count(plugin), least = calibrators > 0 ? 0 : 1;
  if (calibrators < 0 || calibrators > kMostOps || (calibrators > 0 && !plugin.calibrators))
    return fmt::format("{} calibrators; at most {} are taken", calibrators, kMostOps);
  if (plugin.op_count < least || plugin.op_count > kMostOps || (plugin.op_count > 0 && !plugin.ops))
    return fmt::format("{} ops; {} to {} are taken", plugin.op_count, least, kMostOps);
  std::set<std::string_view> names;
  for (int64_t i = 0; i < plugin.op_count; ++i) {
    const BertieOp* op = plugin.ops[i];
    if (!op) return fmt::format("op {} is missing", i);
    if (op->size < sizeof(BertieOp)) return fmt::format("op {}'s description has {} bytes", i, op->size);
    if (!is_op_name(op->name)) return fmt::format("op {} is not named domain::Name", i);
    if (std::string fault = op_fault(*op); !fault.empty()) return fmt::format("op '{}': {}", op->name, fault);
    if (!names.insert(op->name).second) return fmt::format("op '{}' is described twice", op->name);
  }
  names.clear();
  for (int64_t i = 0; i < calibrators; ++i) {
    if (std::string fault = calibrator_fault(plugin.calibrators[i], i); !fault.empty()) return fault;
    const char* name = plugin.calibrators[i]->name;
    if (!names.insert(name).second) return fmt::format("calibrator '{}' is described twice", name);
  }
  return "";
}

}  // namespace bertie
