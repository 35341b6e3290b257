#include "network/network_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "formats/json.h"
#include "network/op.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

using Json = nlohmann::json;

constexpr std::array kRoles = {InputRole::none, InputRole::token_ids, InputRole::attention_mask, InputRole::type_ids,
                               InputRole::position_ids};

constexpr size_t kMaxItems = 1 << 22;  // values of one network

Json shape_json(const SymbolicShape& shape) {
  Json json = Json::array();
  for (const Dim& dim : shape) json.push_back(dim.is_fixed() ? Json(dim.size) : Json(dim.symbol));
  return json;
}

SymbolicShape shape_of(const Json& json, const JsonFields& fields) {
  SymbolicShape shape;
  if (!json.is_array()) fields.refuse("shape", "a list of extents");
  for (const Json& extent : json) {
    if (extent.is_number_integer() && extent.get<int64_t>() >= 0)
      shape.emplace_back(extent.get<int64_t>());
    else if (extent.is_string() && !extent.get_ref<const std::string&>().empty())
      shape.emplace_back(extent.get<std::string>());
    else
      fields.refuse("shape", "a list of extents, numbers or names");
  }
  return shape;
}

// JSON has no infinities and no NaN, and says nothing about how many digits count.
Json real_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double real_of(const Json& json, const JsonFields& fields, std::string_view name) {
  if (json.is_number()) return json.get<double>();
  if (json == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (json == "inf") return std::numeric_limits<double>::infinity();
  if (json == "-inf") return -std::numeric_limits<double>::infinity();
  fields.refuse(name, "a number");
}

// A text may be any bytes (a plugin's own data): JSON takes code points, so each byte becomes the code point of its value.
std::string latin1_to_utf8(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | byte >> 6);
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

std::string utf8_to_latin1(std::string_view text, const JsonFields& fields, std::string_view name) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x80) {
      bytes += text[i];
      continue;
    }
    if (byte > 0xc3 || i + 1 == text.size()) fields.refuse(name, "a text of code points below 256");
    bytes += static_cast<char>((byte & 0x03) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3f));
  }
  return bytes;
}

// {"epsilon": {"real": 1e-12}}: the type is named, since 1 and 1.0, [] and [] look alike.
Json attribute_json(const Attribute& attribute) {
  struct Writer {
    Json operator()(int64_t value) const { return {{"integer", value}}; }
    Json operator()(double value) const { return {{"real", real_json(value)}}; }
    Json operator()(const std::string& value) const { return {{"text", latin1_to_utf8(value)}}; }
    Json operator()(const std::vector<int64_t>& values) const { return {{"integers", values}}; }
    Json operator()(const std::vector<double>& values) const {
      Json list = Json::array();
      for (const double value : values) list.push_back(real_json(value));
      return {{"reals", std::move(list)}};
    }
  };
  return std::visit(Writer{}, attribute);
}

Attribute attribute_of(const Json& json, const JsonFields& fields, const std::string& name) {
  constexpr std::string_view kExpected = "one of integer, real, text, integers, reals";
  if (!json.is_object() || json.size() != 1) fields.refuse(name, kExpected);
  const std::string& type = json.begin().key();
  const Json& value = json.begin().value();
  if (type == "integer" && value.is_number_integer()) return value.get<int64_t>();
  if (type == "real") return real_of(value, fields, name);
  if (type == "text" && value.is_string()) return utf8_to_latin1(value.get_ref<const std::string&>(), fields, name);
  if (type == "integers" && value.is_array()) {
    std::vector<int64_t> integers;
    for (const Json& element : value) {
      if (!element.is_number_integer()) fields.refuse(name, "a list of integers");
      integers.push_back(element.get<int64_t>());
    }
    return integers;
  }
  if (type == "reals" && value.is_array()) {
    std::vector<double> reals;
    for (const Json& element : value) reals.push_back(real_of(element, fields, name));
    return reals;
  }
  fields.refuse(name, kExpected);
}

// Numbers of the values that the JSON speaks of.
class Numbering {
 public:
  void add(ValueId value) { numbers_.emplace(value, static_cast<int64_t>(numbers_.size())); }
  bool has(ValueId value) const { return numbers_.contains(value); }
  int64_t operator[](ValueId value) const { return value == kNone ? -1 : numbers_.at(value); }

 private:
  std::map<ValueId, int64_t> numbers_;
};

}  // namespace

Json network_to_json(const Network& network, const std::function<size_t(ValueId)>& tensor) {
  Numbering numbers;
  Json inputs = Json::array(), constants = Json::array(), nodes = Json::array(), outputs = Json::array();
  for (ValueId id : network.inputs()) {
    const Value& value = network.value(id);
    numbers.add(id);
    inputs.push_back({{"name", value.name},
                      {"role", role_name(value.role)},
                      {"dtype", dtype_name(value.dtype)},
                      {"shape", shape_json(value.shape)}});
  }
  const std::vector<NodeId> order = network.order();
  const auto add_constant = [&](ValueId id) {
    if (id == kNone || numbers.has(id) || !network.value(id).constant) return;
    numbers.add(id);
    constants.push_back({{"name", network.value(id).name}, {"tensor", tensor(id)}});
  };
  for (NodeId id : order) {
    for (ValueId input : network.node(id).inputs) add_constant(input);
  }
  for (const Network::Output& output : network.outputs()) add_constant(output.value);
  for (NodeId id : order) {
    const Node& node = network.node(id);
    Json reads = Json::array(), makes = Json::array(), attributes = Json::object();
    for (ValueId input : node.inputs) reads.push_back(numbers[input]);
    for (ValueId output : node.outputs) {
      const Value& value = network.value(output);
      numbers.add(output);
      makes.push_back({{"name", value.name}, {"dtype", dtype_name(value.dtype)}, {"shape", shape_json(value.shape)}});
    }
    for (const auto& [name, attribute] : node.attributes) attributes[name] = attribute_json(attribute);
    nodes.push_back({{"op", node.op},
                     {"name", node.name},
                     {"inputs", std::move(reads)},
                     {"outputs", std::move(makes)},
                     {"attributes", std::move(attributes)}});
  }
  for (const Network::Output& output : network.outputs()) {
    outputs.push_back({{"name", output.name}, {"value", numbers[output.value]}});
  }
  Json json = {{"inputs", std::move(inputs)},
               {"constants", std::move(constants)},
               {"nodes", std::move(nodes)},
               {"outputs", std::move(outputs)}};
  Json plugins = Json::object();
  for (NodeId id : order) {
    if (const PluginOp* op = find_plugin_op(network.node(id).op)) plugins[network.node(id).op] = op->plugin;
  }
  if (!plugins.empty()) json["plugins"] = std::move(plugins);
  if (const auto& rule = network.position_rule()) {
    json["position_rule"] = {{"first", rule->first}, {"padding_id", rule->padding_id}};
  }
  return json;
}

namespace {

class NetworkReader {
 public:
  NetworkReader(const std::string& file, std::span<const Tensor> tensors) : file_(file), tensors_(tensors) {}

  Network read(const Json& json) {
    const JsonFields fields(json, file_);
    check_plugins(fields);
    for (const Json& input : list(fields, "inputs")) add_input(input);
    for (const Json& constant : list(fields, "constants")) add_constant(constant);
    for (const Json& node : list(fields, "nodes")) add_node(node);
    for (const Json& output : list(fields, "outputs")) {
      const JsonFields own(output, file_, "outputs.");
      network_.add_output(own.text("name"), value(own.integer("value", 0, JsonFields::kMax)));
    }
    if (const Json* rule = fields.find("position_rule")) {
      constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
      const JsonFields own(*rule, file_, "position_rule.");
      network_.set_position_rule({.first = static_cast<int32_t>(own.integer("first", 0, kMax)),
                                  .padding_id = static_cast<int32_t>(own.integer("padding_id", -1, kMax))});
    }
    network_.verify();
    return std::move(network_);
  }

 private:
  static const Json& list(const JsonFields& fields, std::string_view name) {
    const Json* found = fields.find(name);
    if (!found || !found->is_array() || found->size() > kMaxItems) fields.refuse(name, "a list");
    return *found;
  }

  // The ops of plugins, each with the plugin that it came from. Their versions are attributes of the nodes.
  void check_plugins(const JsonFields& fields) const {
    const Json* plugins = fields.find("plugins");
    if (!plugins) return;
    if (!plugins->is_object()) fields.refuse("plugins", "an object");
    for (const auto& [op, plugin] : plugins->items()) {
      if (!plugin.is_string()) fields.refuse("plugins." + op, "the name of a plugin");
      if (find_plugin_op(op)) continue;
      fail(ErrorCode::unsupported, "{}: op '{}' needs the plugin '{}', which is not loaded", file_, op,
           plugin.get<std::string>());
    }
  }

  DType dtype(const JsonFields& fields) const {
    const std::optional<DType> named = dtype_named(fields.text("dtype"));
    if (!named) fields.refuse("dtype", "the name of a dtype");
    return *named;
  }

  const Json& field(const JsonFields& fields, std::string_view name) const {
    const Json* found = fields.find(name);
    if (!found) fields.refuse(name, "given");
    return *found;
  }

  ValueId value(int64_t number) const {
    if (number < 0 || static_cast<size_t>(number) >= values_.size()) {
      fail(ErrorCode::invalid_file, "{}: there is no value {}", file_, number);
    }
    return values_[static_cast<size_t>(number)];
  }

  // As it was named when it was written, whatever this network would make of the name.
  void name_value(ValueId id, const std::string& name) { network_.mutable_value(id).name = name; }

  void add_input(const Json& json) {
    const JsonFields fields(json, file_, "inputs.");
    const std::string name = fields.text("name");
    if (!input_names_.insert(name).second) fail(ErrorCode::invalid_file, "{}: two inputs are called '{}'", file_, name);
    values_.push_back(network_.add_input(name, dtype(fields), shape_of(field(fields, "shape"), fields)));
    name_value(values_.back(), name);
    const std::string role = fields.text("role");
    for (const InputRole known : kRoles) {
      if (role_name(known) == role) return network_.set_role(values_.back(), known);
    }
    fields.refuse("role", "a known role");
  }

  void add_constant(const Json& json) {
    const JsonFields fields(json, file_, "constants.");
    const auto number = static_cast<size_t>(fields.integer("tensor", 0, JsonFields::kMax));
    if (number >= tensors_.size()) fields.refuse("tensor", fmt::format("below {}", tensors_.size()));
    values_.push_back(network_.add_constant(fields.text("name"), tensors_[number]));
    name_value(values_.back(), fields.text("name"));
  }

  void add_node(const Json& json) {
    const JsonFields fields(json, file_, "nodes.");
    const std::string name = fields.text("name");
    std::vector<ValueId> inputs;
    for (const Json& input : list(fields, "inputs")) {
      if (!input.is_number_integer()) fields.refuse("inputs", "numbers of values");
      const auto number = input.get<int64_t>();
      inputs.push_back(number == -1 ? kNone : value(number));
    }
    Attributes attributes;
    const Json& stored = field(fields, "attributes");
    if (!stored.is_object()) fields.refuse("attributes", "an object");
    for (const auto& [key, attribute] : stored.items()) attributes[key] = attribute_of(attribute, fields, "attributes." + key);
    const std::vector<ValueId> made = network_.add_node(fields.text("op"), std::move(inputs), std::move(attributes), name);
    const Json& outputs = list(fields, "outputs");
    if (outputs.size() != made.size()) {
      fail(ErrorCode::invalid_file, "{}: node '{}' has {} outputs, its op makes {}", file_, name, outputs.size(), made.size());
    }
    network_.mutable_node(network_.value(made.at(0)).producer).name = name;
    for (size_t i = 0; i < made.size(); ++i) {
      const JsonFields own(outputs[i], file_, "nodes.outputs.");
      const Value& result = network_.value(made[i]);
      const SymbolicShape shape = shape_of(field(own, "shape"), own);
      if (result.dtype != dtype(own) || !(result.shape == shape)) {
        fail(ErrorCode::invalid_file, "{}: node '{}' makes {} {}, and {} {} was written", file_, name, dtype_name(result.dtype),
             to_string(result.shape), own.text("dtype"), to_string(shape));
      }
      name_value(made[i], own.text("name"));
      values_.push_back(made[i]);
    }
  }

  const std::string& file_;
  std::span<const Tensor> tensors_;
  Network network_;
  std::vector<ValueId> values_;
  std::set<std::string> input_names_;
};

}  // namespace

Network network_from_json(const Json& json, const std::string& file, std::span<const Tensor> tensors) {
  try {
    return NetworkReader(file, tensors).read(json);
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(file)) throw;
    fail(error.code() == ErrorCode::unsupported ? ErrorCode::unsupported : ErrorCode::invalid_file, "{}: {}", file, error.what());
  }
}

}  // namespace bertie
