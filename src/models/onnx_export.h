// A logical Network as an ONNX graph of standard ops.
#pragma once

#include <string>
#include <vector>

#include "bertie/model.h"
#include "formats/onnx_file.h"
#include "models/onnx_graph.h"

namespace bertie::models {

inline constexpr int64_t kOldestWrittenOpset = 11;
inline constexpr int64_t kNewestWrittenOpset = 23;

// `squeezed`: see ModelInfo::squeezed_outputs. Fused ops are taken apart; floats of any width become f32. The mask of attention is an
// addition to the scores: a sequence that attends to nothing comes out as the mean of its values, not as 0.
// Throws Error(unsupported) naming an op or an attribute that the opset cannot say, or a packed network.
onnx::Model to_onnx(const Network& network, const OnnxExportOptions& options, const std::vector<std::string>& squeezed);

// What one op's export needs.
struct OnnxExport {
  const Network& network;
  OnnxGraph& graph;
  std::map<ValueId, OnnxName>& values;      // what has a name so far
  std::map<std::string, OnnxName>& shared;  // pieces that several nodes use: masks, relative positions
  const Node* node = nullptr;

  bool has(size_t input) const { return node->input(input) != kNone; }
  // The ONNX value of a node's input; a constant becomes an initialiser when first asked for. Empty where it is left out.
  OnnxName input(size_t input) { return value(node->input(input)); }
  OnnxName value(ValueId id);
  const SymbolicShape& shape(size_t input) const { return network.value(node->input(input)).shape; }
  int64_t rank(size_t input) const { return static_cast<int64_t>(shape(input).size()); }
  DType dtype(size_t input) const { return network.value(node->input(input)).dtype; }
  // A constant input's integers. Throws Error(unsupported) where only the run knows them.
  std::vector<int64_t> integers(size_t input) const;
  void require_opset(int64_t opset, std::string_view what) const;
  [[noreturn]] void refuse(std::string_view reason) const;
};

// One value a node output.
using OnnxExporter = std::vector<OnnxName> (*)(OnnxExport&);

// onnx_export_ops.cc: ops that ONNX has. onnx_export_fused.cc: those that it is told in pieces. nullptr: another file's.
OnnxExporter onnx_exporter_of_elementary(std::string_view op);
OnnxExporter onnx_exporter_of_fused(std::string_view op);

}  // namespace bertie::models
