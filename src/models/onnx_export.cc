#include "models/onnx_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/float_element.h"
#include "bertie/base.h"
#include "formats/onnx_write.h"
#include "network/op.h"

namespace bertie::models {
namespace {

// The oldest IR version that allows an opset (onnx's own table of releases).
int64_t ir_version_of(int64_t opset) {
  if (opset >= 23) return 11;
  if (opset >= 21) return 10;
  if (opset >= 19) return 9;
  if (opset >= 15) return 8;
  return opset >= 12 ? 7 : 6;
}

// Floats of every width are f32 in a network; a copy is made of those that are stored otherwise.
Tensor as_written(const Tensor& tensor) {
  if (!is_float(tensor.dtype) || tensor.dtype == DType::f32) return tensor;
  const auto count = static_cast<size_t>(tensor.shape.elements());
  std::vector<float> numbers(count);
  for (size_t i = 0; i < count; ++i) {
    numbers[i] = tensor.dtype == DType::f64 ? static_cast<float>(tensor.view().as<double>()[i]) : float_element(tensor.view(), i);
  }
  return Tensor::from_floats(tensor.shape, numbers);
}

bool is_identifier(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

onnx::ValueInfo value_info(const std::string& name, const Value& value, DType dtype) {
  onnx::ValueInfo info{name, dtype, "", std::vector<onnx::Extent>{}};
  for (const Dim& dim : value.shape) {
    // An extent that is computed from others has no name of its own.
    info.shape->push_back(dim.is_fixed() ? onnx::Extent{dim.size, ""}
                                         : onnx::Extent{std::nullopt, is_identifier(dim.symbol) ? dim.symbol : ""});
  }
  return info;
}

class Exporter {
 public:
  Exporter(const Network& network, const OnnxExportOptions& options, const std::vector<std::string>& squeezed)
      : network_(network), squeezed_(squeezed), graph_(options.opset), export_{network_, graph_, values_, shared_} {
    network_.remove_dead_nodes();
    if (!options.position_ids) positions_ = network_.input_of(InputRole::position_ids);
    if (positions_ != kNone && network_.input_of(InputRole::token_ids) == kNone) positions_ = kNone;  // nothing to count by
  }

  onnx::Model run() {
    reserve_names();
    add_inputs();
    for (NodeId id : network_.order()) add_node(network_.node(id));
    add_outputs();
    onnx::Model model;
    model.graph = graph_.take();
    model.graph.name = "bertie";
    model.graph.inputs = std::move(inputs_);
    model.graph.outputs = std::move(outputs_);
    model.ir_version = ir_version_of(graph_.opset());
    model.producer = "bertie " + std::string(version());
    model.opsets[""] = graph_.opset();
    return model;
  }

 private:
  // Inputs and outputs keep their names; whatever else wants one of them gets another.
  void reserve_names() {
    for (ValueId id : network_.inputs()) {
      if (id != positions_) values_[id] = graph_.unique_value(network_.value(id).name);
    }
    for (const auto& output : network_.outputs()) {
      const auto same = values_.find(output.value);
      const bool passed_through = same != values_.end() && same->second == output.name;
      if (!passed_through && graph_.unique_value(output.name) != output.name) {
        fail(ErrorCode::unsupported, "output '{}': ONNX allows no input and output of one name", output.name);
      }
    }
  }

  void add_inputs() {
    for (ValueId id : network_.inputs()) {
      if (id == positions_) continue;
      const Value& value = network_.value(id);
      inputs_.push_back(value_info(value.name, value, value.dtype));
      graph_.set_scope(value.name);
      if (is_float(value.dtype) && value.dtype != DType::f32) values_[id] = graph_.cast(value.name, DType::f32);
    }
    if (positions_ != kNone) add_positions();
  }

  // [batch, sequence] by the network's rule.
  void add_positions() {
    const PositionRule rule = network_.position_rule().value_or(PositionRule{});
    const OnnxName ids = values_.at(network_.input_of(InputRole::token_ids));
    const DType dtype = network_.value(positions_).dtype;
    graph_.set_scope(network_.value(positions_).name);
    OnnxName positions;
    if (rule.padding_id >= 0) {
      // Tokens other than padding are counted, padding gets its own id: Hugging Face's create_position_ids_from_input_ids.
      const OnnxName token = graph_.cast(graph_.add("Not", {graph_.add("Equal", {ids, padding(rule)})}), DType::i64);
      const OnnxName count = graph_.add("Mul", {graph_.add("CumSum", {token, graph_.integer(1)}), token});
      positions = graph_.add("Add", {count, graph_.integer(rule.padding_id)});
    } else {
      const OnnxName length = graph_.squeeze(graph_.shape(ids, 1, 2), {0});
      OnnxName places = graph_.add("Range", {graph_.integer(0), length, graph_.integer(1)});
      if (rule.first != 0) places = graph_.add("Add", {places, graph_.integer(rule.first)});
      positions = graph_.add("Expand", {places, graph_.add("Shape", {ids})});
    }
    values_[positions_] = dtype == DType::i64 ? positions : graph_.cast(positions, dtype);
  }

  OnnxName padding(const PositionRule& rule) {
    const DType dtype = network_.value(network_.input_of(InputRole::token_ids)).dtype;
    const OnnxName id = graph_.integer(rule.padding_id);
    return dtype == DType::i64 ? id : graph_.cast(id, dtype);
  }

  void add_node(const Node& node) {
    OnnxExporter exporter = onnx_exporter_of_elementary(node.op);
    if (!exporter) exporter = onnx_exporter_of_fused(node.op);
    if (!exporter) fail(ErrorCode::unsupported, "{} '{}': this op is not exported", node.op, node.name);
    const size_t first = graph_.node_count();
    export_.node = &node;
    graph_.set_scope(node.name);
    std::vector<OnnxName> results = exporter(export_);
    // What makes the result is called as the network calls it.
    const OnnxName name = graph_.unique_value(node.name);
    if (onnx::Node* maker = graph_.rename(results[0], name, first)) {
      maker->name = name;
      results[0] = name;
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) values_[node.outputs[i]] = results.at(i);
  }

  void add_outputs() {
    for (const auto& output : network_.outputs()) {
      const Value& value = network_.value(output.value);
      const DType dtype = is_float(value.dtype) ? DType::f32 : value.dtype;
      outputs_.push_back(value_info(output.name, value, dtype));
      OnnxName name = export_.value(output.value);
      if (name == output.name) continue;
      graph_.set_scope(output.name);
      if (std::find(squeezed_.begin(), squeezed_.end(), output.name) != squeezed_.end()) {
        outputs_.back().shape->pop_back();
        name = graph_.squeeze(name, {-1});
      } else if (is_taken(output, name)) {
        name = graph_.add("Identity", {name});
      }
      graph_.rename(name, output.name, 0);
      if (values_.at(output.value) == name) values_[output.value] = output.name;
    }
  }

  // Whether the value keeps its name: an input, a constant, or what another output has been named after.
  bool is_taken(const Network::Output& output, const OnnxName& name) const {
    const auto outputs = network_.outputs();
    return network_.value(output.value).producer == kNone ||
           std::any_of(outputs.begin(), outputs.end(), [&](const auto& other) { return other.name == name; });
  }

  Network network_;
  const std::vector<std::string>& squeezed_;
  OnnxGraph graph_;
  std::map<ValueId, OnnxName> values_;
  std::map<std::string, OnnxName> shared_;
  OnnxExport export_;
  ValueId positions_ = kNone;  // computed in the graph
  std::vector<onnx::ValueInfo> inputs_, outputs_;
};

}  // namespace

OnnxName OnnxExport::value(ValueId id) {
  if (id == kNone) return "";
  const auto found = values.find(id);
  if (found != values.end()) return found->second;
  const Value& value = network.value(id);
  return values[id] = graph.initializer(value.name, as_written(value.constant->row_major()));
}

std::vector<int64_t> OnnxExport::integers(size_t input) const {
  const auto elements = known_elements(network.value(node->input(input)));
  std::vector<int64_t> numbers;
  for (const Dim& element : elements.value_or(SymbolicShape{"unknown"})) {
    if (!element.is_fixed()) refuse(fmt::format("numbers that only the run knows at opset {}", graph.opset()));
    numbers.push_back(element.size);
  }
  return numbers;
}

void OnnxExport::require_opset(int64_t opset, std::string_view what) const {
  if (graph.opset() < opset) refuse(fmt::format("{}: needs opset {}, not {}", what, opset, graph.opset()));
}

void OnnxExport::refuse(std::string_view reason) const {
  fail(ErrorCode::unsupported, "{} '{}': cannot be exported: {}", node->op, node->name, reason);
}

onnx::Model to_onnx(const Network& network, const OnnxExportOptions& options, const std::vector<std::string>& squeezed) {
  if (options.opset < kOldestWrittenOpset || options.opset > kNewestWrittenOpset) {
    fail(ErrorCode::invalid_argument, "opset {}: {} to {} are written", options.opset, kOldestWrittenOpset, kNewestWrittenOpset);
  }
  network.verify();
  return Exporter(network, options, squeezed).run();
}

}  // namespace bertie::models

namespace bertie {

void export_onnx(const Network& network, const std::string& path, const OnnxExportOptions& options) {
  onnx::write_onnx(models::to_onnx(network, options, {}), path, options.largest_inline);
}

void export_onnx(const Model& model, const std::string& path, const OnnxExportOptions& options) {
  onnx::write_onnx(models::to_onnx(model.network(), options, model.info().squeezed_outputs), path, options.largest_inline);
}

}  // namespace bertie
