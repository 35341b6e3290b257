#include "formats/onnx_file.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json.h"
#include "formats/onnx_tensor.h"

namespace bertie::onnx {
namespace {

using namespace onnx_proto;

// Names go into messages and lists: text without control characters.
bool is_text(const std::string& name) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(name.begin(), name.end(), control)) return false;
  if (std::all_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return true;
  try {
    nlohmann::json(name).dump();  // strict about UTF-8
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

std::string normalised(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

class Reader {
 public:
  Reader(std::string file, const std::optional<std::string>& folder) : file_(file), tensors_(std::move(file), folder) {}

  Model model(ModelProto& proto);

 private:
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::invalid_file, "{}: {}", file_, fmt::format(format, std::forward<Args>(args)...));
  }

  // `name` where it is text; refused otherwise.
  const std::string& text(const std::string& name) const {
    if (!is_text(name)) refuse("a name in it is not UTF-8 text");
    return name;
  }
  template <typename Strings>
  std::vector<std::string> texts(const Strings& strings) const {
    for (const std::string& name : strings) text(name);
    return {strings.begin(), strings.end()};
  }
  template <typename Imports>
  OpsetImports opsets(const Imports& imports) const;
  Graph graph(GraphProto& proto);
  Node node(NodeProto& proto);
  Attribute attribute(AttributeProto& proto, const std::string& node);
  ValueInfo value_info(const ValueInfoProto& proto, std::string_view role) const;
  Function function(FunctionProto& proto);

  std::string file_;
  TensorReader tensors_;
};

template <typename Imports>
OpsetImports Reader::opsets(const Imports& imports) const {
  OpsetImports versions;
  for (const auto& import : imports) {
    const bool added = versions.emplace(normalised(text(import.domain())), import.version()).second;
    if (!added) refuse("opset_import: domain '{}' is given twice", import.domain());
  }
  return versions;
}

// What the attribute holds where the file, older than the field `type`, does not say it.
AttributeProto::AttributeType type_by_content(const AttributeProto& proto) {
  if (proto.has_f()) return AttributeProto::FLOAT;
  if (proto.has_i()) return AttributeProto::INT;
  if (proto.has_s()) return AttributeProto::STRING;
  if (proto.has_t()) return AttributeProto::TENSOR;
  if (proto.has_g()) return AttributeProto::GRAPH;
  if (proto.floats_size() > 0) return AttributeProto::FLOATS;
  if (proto.strings_size() > 0) return AttributeProto::STRINGS;
  return AttributeProto::INTS;
}

std::string kind_name(int kind) {
  static constexpr std::string_view kNames[] = {
      "UNDEFINED", "FLOAT",   "INT",    "STRING",        "TENSOR",         "GRAPH",      "FLOATS",     "INTS",
      "STRINGS",   "TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS"};
  return std::string(kNames[kind]);
}

Attribute Reader::attribute(AttributeProto& proto, const std::string& node) {
  Attribute attribute;
  attribute.name = text(proto.name());
  if (!proto.ref_attr_name().empty()) {
    attribute.reference = text(proto.ref_attr_name());
    return attribute;
  }
  const auto kind = proto.type() == AttributeProto::UNDEFINED ? type_by_content(proto) : proto.type();
  attribute.kind = kind_name(kind);
  switch (kind) {
    case AttributeProto::FLOAT: attribute.value = static_cast<double>(proto.f()); break;
    case AttributeProto::INT: attribute.value = proto.i(); break;
    case AttributeProto::STRING: attribute.value = proto.s(); break;
    case AttributeProto::FLOATS: attribute.value = std::vector<double>(proto.floats().begin(), proto.floats().end()); break;
    case AttributeProto::INTS: attribute.value = std::vector<int64_t>(proto.ints().begin(), proto.ints().end()); break;
    case AttributeProto::STRINGS:
      attribute.value = std::vector<std::string>(proto.strings().begin(), proto.strings().end());
      break;
    case AttributeProto::TENSOR:
      attribute.value = tensors_.read(*proto.mutable_t(), fmt::format("{}: attribute '{}'", node, proto.name()));
      break;
    case AttributeProto::GRAPH: attribute.value = std::make_shared<const Graph>(graph(*proto.mutable_g())); break;
    default: break;  // refused where it is used
  }
  return attribute;
}

Node Reader::node(NodeProto& proto) {
  Node node;
  node.name = text(proto.name());
  node.op = text(proto.op_type());
  node.domain = normalised(text(proto.domain()));
  node.overload = text(proto.overload());
  node.inputs = texts(proto.input());
  node.outputs = texts(proto.output());
  const std::string label =
      fmt::format("node '{}' ({})", node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name, node.op);
  if (node.op.empty()) refuse("{} has no op_type", label);
  for (auto& attribute : *proto.mutable_attribute()) {
    const bool twice = std::any_of(node.attributes.begin(), node.attributes.end(),
                                   [&](const Attribute& known) { return known.name == attribute.name(); });
    if (twice) refuse("{}: attribute '{}' is given twice", label, attribute.name());
    node.attributes.push_back(this->attribute(attribute, label));
  }
  return node;
}

ValueInfo Reader::value_info(const ValueInfoProto& proto, std::string_view role) const {
  ValueInfo info;
  info.name = text(proto.name());
  if (info.name.empty() && role != "value") refuse("an {} has no name", role);
  const TypeProto& type = proto.type();
  switch (type.value_case()) {
    case TypeProto::VALUE_NOT_SET: return info;
    case TypeProto::kTensorType: break;
    case TypeProto::kSequenceType: info.type = "a sequence"; return info;
    case TypeProto::kMapType: info.type = "a map"; return info;
    case TypeProto::kOpaqueType: info.type = "an opaque type"; return info;
    case TypeProto::kSparseTensorType: info.type = "a sparse tensor"; return info;
    case TypeProto::kOptionalType: info.type = "an optional value"; return info;
  }
  if (type.tensor_type().elem_type() != 0) {
    info.dtype = dtype_of_number(type.tensor_type().elem_type());
    info.type = type_name(type.tensor_type().elem_type());
  }
  if (!type.tensor_type().has_shape()) return info;
  info.shape.emplace();
  for (const auto& dim : type.tensor_type().shape().dim()) {
    Extent& extent = info.shape->emplace_back();
    // Some exporters write -1 or 0 for an extent that only the run knows; a name says so properly.
    if (dim.has_dim_value() && dim.dim_value() >= 0) extent.size = dim.dim_value();
    extent.symbol = text(dim.dim_param());
  }
  return info;
}

Graph Reader::graph(GraphProto& proto) {
  Graph graph;
  graph.name = proto.name();
  if (proto.sparse_initializer_size() > 0) {
    fail(ErrorCode::unsupported, "{}: sparse initializer '{}': sparse tensors are not supported", file_,
         text(proto.sparse_initializer(0).values().name()));
  }
  for (auto& initializer : *proto.mutable_initializer()) {
    const std::string name = text(initializer.name());
    Tensor tensor = tensors_.read(initializer, fmt::format("initializer '{}'", name));
    if (!graph.initializers.emplace(name, std::move(tensor)).second) refuse("initializer '{}' is given twice", name);
  }
  std::set<std::string> names;
  for (const auto& input : proto.input()) {
    if (!names.insert(input.name()).second) refuse("input '{}' is named twice", input.name());
    if (!graph.initializers.contains(input.name())) graph.inputs.push_back(value_info(input, "input"));
  }
  std::set<std::string> outputs;
  for (const auto& output : proto.output()) {
    if (!outputs.insert(output.name()).second) refuse("output '{}' is named twice", output.name());
    graph.outputs.push_back(value_info(output, "output"));
  }
  for (const auto& value : proto.value_info()) graph.values.push_back(value_info(value, "value"));
  for (auto& node : *proto.mutable_node()) graph.nodes.push_back(this->node(node));
  return graph;
}

Function Reader::function(FunctionProto& proto) {
  Function function;
  function.domain = normalised(text(proto.domain()));
  function.name = text(proto.name());
  function.overload = text(proto.overload());
  function.inputs = texts(proto.input());
  function.outputs = texts(proto.output());
  function.attributes = texts(proto.attribute());
  const std::string label = fmt::format("function '{}'", function.name);
  for (auto& attribute : *proto.mutable_attribute_proto()) function.defaults.push_back(this->attribute(attribute, label));
  for (auto& node : *proto.mutable_node()) function.nodes.push_back(this->node(node));
  function.opsets = opsets(proto.opset_import());
  return function;
}

Model Reader::model(ModelProto& proto) {
  Model model;
  model.file = file_;
  model.ir_version = proto.ir_version();
  model.producer = text(proto.producer_name());
  if (!proto.producer_version().empty()) model.producer += " " + text(proto.producer_version());
  if (!proto.has_graph()) refuse("not an ONNX model: it holds no graph");
  model.opsets = opsets(proto.opset_import());
  for (const auto& entry : proto.metadata_props()) model.metadata[entry.key()] = entry.value();
  for (auto& function : *proto.mutable_functions()) model.functions.push_back(this->function(function));
  model.graph = graph(*proto.mutable_graph());
  model.external_files = tensors_.external_files();
  return model;
}

}  // namespace

Model parse_onnx(std::span<const std::byte> bytes, const std::string& file, const std::optional<std::string>& folder) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    fail(ErrorCode::unsupported,
         "{}: {} bytes are over protobuf's limit of 2 GiB: such a model keeps its weights as ONNX external data", file,
         bytes.size());
  }
  ModelProto proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    fail(ErrorCode::invalid_file, "{}: not an ONNX model, or cut short: protobuf cannot read its {} bytes", file, bytes.size());
  }
  return Reader(file, folder).model(proto);
}

Model read_onnx(const std::string& path) {
  const auto mapped = MappedFile::open(path);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  Model model = parse_onnx(mapped->bytes(), path, folder.empty() ? "." : folder.string());
  return model;
}

}  // namespace bertie::onnx
