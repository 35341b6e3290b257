// The ops and calibrators that plugins registered, for the op table, the importer, the backends and calibration. Entries stay for the life of the process.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bertie/plugin.h"
#include "network/op.h"

namespace bertie {

struct PluginOp {
  OpDescriptor descriptor;  // its strings are the plugin's
  std::string plugin;       // "fancy v1.0"
  const BertieOp* abi = nullptr;
};

struct PluginCalibrator {
  std::string plugin;
  const BertieCalibrator* abi = nullptr;
};

// The attribute in which a node keeps the version of its plugin op, so that files hold it.
inline constexpr std::string_view kPluginVersion = "plugin_version";

// Inputs that a description may name, and that a node of a plugin's op may have.
inline constexpr int64_t kMostPluginValues = 64;

// As the public one; `path` is the library's, empty for a description of the program's own.
PluginInfo register_plugin(const BertiePlugin& plugin, const std::string& path);

// nullptr where no plugin has it. A name of the vocabulary is never looked for here: they have no "::".
const PluginOp* find_plugin_op(std::string_view name);
// The op that an ONNX node of this domain and type stands for; its attributes are the ONNX node's by name.
const PluginOp* find_plugin_op(std::string_view domain, std::string_view op_type);
std::vector<const PluginOp*> plugin_ops();  // in the order in which they came
std::vector<PluginCalibrator> plugin_calibrators();

// Puts in the defaults of attributes left out and the op's version; an integer for a real is converted. Throws
// Error(invalid_argument) where a required one is missing or one has another type, Error(unsupported) where the node was made with
// another version of the op.
void complete_attributes(const PluginOp& op, Node& node);

// Whether a plugin's node works row by row, so that padded rows may be left out of it. false for ops of the vocabulary.
bool is_row_wise_plugin(const Network& network, const Node& node);

}  // namespace bertie
