#include "models/onnx_roles.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>

#include "network/dim.h"
#include "network/op.h"

namespace bertie::models {
namespace {

// Names in use, after ":0" (tf2onnx) and an exporter's number (input_ids_1, input_ids.3) are cut off.
constexpr std::pair<std::string_view, InputRole> kNames[] = {
    {"input_ids", InputRole::token_ids},       {"input_word_ids", InputRole::token_ids},
    {"token_ids", InputRole::token_ids},       {"ids", InputRole::token_ids},
    {"tokens", InputRole::token_ids},          {"attention_mask", InputRole::attention_mask},
    {"input_mask", InputRole::attention_mask}, {"mask", InputRole::attention_mask},
    {"token_type_ids", InputRole::type_ids},   {"segment_ids", InputRole::type_ids},
    {"input_type_ids", InputRole::type_ids},   {"token_types", InputRole::type_ids},
    {"position_ids", InputRole::position_ids},
};

std::string plain_name(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  name = name.substr(0, name.find(':'));
  if (const size_t slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
  const size_t last = name.find_last_not_of("0123456789");
  if (last != std::string::npos && last + 1 < name.size() && (name[last] == '_' || name[last] == '.')) name.resize(last);
  return name;
}

InputRole role_by_name(const std::string& name) {
  const std::string plain = plain_name(name);
  const auto* found = std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& row) { return row.first == plain; });
  return found == std::end(kNames) ? InputRole::none : found->second;
}

// Where names say nothing: ids that pick rows of a constant table are tokens, or types where the table is tiny.
InputRole role_by_use(const onnx::Graph& graph, const std::string& name) {
  constexpr int64_t kMostTypes = 16;
  std::set<std::string_view> same = {name};  // the input, also behind casts
  for (const onnx::Node& node : graph.nodes) {
    if (!node.domain.empty() || node.inputs.empty() || node.outputs.empty()) continue;
    if ((node.op == "Cast" || node.op == "Identity") && same.contains(node.inputs[0])) same.insert(node.outputs[0]);
    if (node.op != "Gather" || node.inputs.size() != 2 || !same.contains(node.inputs[1])) continue;
    const auto table = graph.initializers.find(node.inputs[0]);
    if (table == graph.initializers.end() || table->second.shape.rank() != 2 || !is_float(table->second.dtype)) continue;
    return table->second.shape[0] <= kMostTypes ? InputRole::type_ids : InputRole::token_ids;
  }
  return InputRole::none;
}

bool is_matrix(const onnx::ValueInfo& input) { return input.dtype && input.shape && input.shape->size() == 2; }

// A name of the file's as a symbol: free of the signs with which products and sums are spelt, and of names that mean something here.
std::string symbol_of(const std::string& name) {
  std::string symbol;
  for (const char c : name) symbol += std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' ? c : '_';
  const bool reserved = symbol == "tokens" || symbol == "rows" || std::isdigit(static_cast<unsigned char>(symbol[0]));
  return reserved ? "file." + symbol : symbol;
}

}  // namespace

OnnxInputs understand_inputs(const onnx::Graph& graph) {
  OnnxInputs inputs;
  std::set<InputRole> taken;
  const auto take = [&](InputRole role) { return role != InputRole::none && taken.insert(role).second ? role : InputRole::none; };
  for (const onnx::ValueInfo& input : graph.inputs) {
    inputs.roles.push_back(is_matrix(input) ? take(role_by_name(input.name)) : InputRole::none);
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const bool ids = is_matrix(graph.inputs[i]) && is_index(*graph.inputs[i].dtype);
    if (ids && inputs.roles[i] == InputRole::none) inputs.roles[i] = take(role_by_use(graph, graph.inputs[i].name));
  }
  // The file's names of the two axes, from whatever input shows them.
  std::map<std::string, std::string> symbols;
  const bool encoder = taken.contains(InputRole::token_ids);
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    if (!encoder || inputs.roles[i] == InputRole::none) continue;
    const auto& shape = *graph.inputs[i].shape;
    if (!shape[0].symbol.empty()) symbols.emplace(shape[0].symbol, "batch");
    if (!shape[1].symbol.empty()) symbols.emplace(shape[1].symbol, "sequence");
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    SymbolicShape& shape = inputs.shapes.emplace_back();
    const onnx::ValueInfo& input = graph.inputs[i];
    if (!input.shape) continue;
    for (size_t axis = 0; axis < input.shape->size(); ++axis) {
      const onnx::Extent& extent = (*input.shape)[axis];
      const bool token_input = encoder && inputs.roles[i] != InputRole::none;
      if (extent.size) {
        shape.emplace_back(*extent.size);
      } else if (token_input) {
        shape.emplace_back(axis == 0 ? "batch" : "sequence");
      } else if (extent.symbol.empty()) {
        shape.push_back(unknown_dim(input.name, axis));
      } else {
        const auto known = symbols.find(extent.symbol);
        shape.emplace_back(known == symbols.end() ? symbol_of(extent.symbol) : known->second);
      }
    }
  }
  return inputs;
}

}  // namespace bertie::models
