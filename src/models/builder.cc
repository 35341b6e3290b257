#include "models/builder.h"

#include <array>

#include "base/error.h"

namespace bertie::models {

std::string activation_of_config(std::string_view hidden_act, const std::string& file) {
  // transformers' names (activations.py); its tanh approximations differ in rounding only.
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kNames = {{
      {"gelu", "gelu"},
      {"gelu_python", "gelu"},
      {"gelu_new", "gelu_tanh"},
      {"gelu_fast", "gelu_tanh"},
      {"gelu_pytorch_tanh", "gelu_tanh"},
      {"gelu_python_tanh", "gelu_tanh"},
      {"gelu_accurate", "gelu_tanh"},
      {"relu", "relu"},
      {"silu", "silu"},
      {"swish", "silu"},
      {"tanh", "tanh"},
  }};
  for (const auto& [name, activation] : kNames) {
    if (name == hidden_act) return std::string(activation);
  }
  fail(ErrorCode::unsupported, "{}: field 'hidden_act': '{}' is not supported", file, hidden_act);
}

ValueId add_activation(Network& network, std::string_view activation, ValueId x, const std::string& node) {
  if (activation == "identity") return x;
  if (activation == "gelu") return network.add_gelu(x, "none", node);
  if (activation == "gelu_tanh") return network.add_gelu(x, "tanh", node);
  return network.add_unary(std::string(activation), x, node);
}

int64_t Builder::embedding_size() const {
  if (family.projection == EmbeddingProjection::none) return config.hidden_size;
  return config.embedding_size.value_or(family.embedding_size);
}

std::string Builder::hidden_act() const {
  return activation_of_config(config.hidden_act.value_or(std::string(family.hidden_act)), config.file);
}

ValueId Builder::linear(ValueId x, const std::string& name, int64_t features, const std::string& node) {
  const ValueId weight = weights.constant(network, name + ".weight", Shape{features, width(x)});
  const ValueId bias = weights.constant(network, name + ".bias", Shape{features});
  return network.add_linear(x, weight, bias, node);
}

ValueId Builder::layer_norm(ValueId x, const std::string& name, const std::string& node) {
  const ValueId gamma = weights.constant(network, name + ".weight", Shape{width(x)});
  const ValueId beta = weights.constant(network, name + ".bias", Shape{width(x)});
  return network.add_layer_norm(x, gamma, beta, layer_norm_eps(), node);
}

}  // namespace bertie::models
