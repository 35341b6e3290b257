// Inputs, embeddings and layers of every family.
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "models/builder.h"

namespace bertie::models {
namespace {

struct Inputs {
  ValueId ids = kNone;
  ValueId types = kNone;
  ValueId positions = kNone;
};

Inputs add_inputs(Builder& b) {
  const SymbolicShape shape = {"batch", "sequence"};
  Inputs inputs;
  inputs.ids = b.network.add_input("input_ids", DType::i64, shape);
  b.mask = b.network.add_input("attention_mask", DType::i64, shape);
  if (b.family.has_types && b.config.type_vocabulary > 0) {
    inputs.types = b.network.add_input("token_type_ids", DType::i64, shape);
  }
  inputs.positions = b.network.add_input("position_ids", DType::i64, shape);
  return inputs;
}

ValueId word_table(Builder& b) {
  const Shape shape{b.config.vocabulary, b.embedding_size()};
  const std::string name = b.prefixed("embeddings.word_embeddings.weight");
  // A tied table may be stored once only, under the decoder's name.
  const std::string decoder = std::string(b.family.masked.decoder) + ".weight";
  const bool from_decoder = b.config.tie_word_embeddings && !b.weights.has(name) && b.weights.has(decoder);
  return b.weights.constant(b.network, from_decoder ? decoder : name, shape);
}

// layer_norm((word + type) + position), then the projection to the hidden size.
ValueId add_embeddings(Builder& b, const Inputs& inputs) {
  const int64_t width = b.embedding_size();
  b.word_table = word_table(b);
  ValueId x = b.network.add_embedding(b.word_table, inputs.ids, "embeddings.word_embeddings");
  if (inputs.types != kNone) {
    const ValueId table = b.weights.constant(b.network, b.prefixed("embeddings.token_type_embeddings.weight"),
                                             Shape{b.config.type_vocabulary, width});
    const ValueId types = b.network.add_embedding(table, inputs.types, "embeddings.token_type_embeddings");
    x = b.network.add_elementwise("add", x, types, "embeddings.add_token_type");
  }
  const ValueId table = b.weights.constant(b.network, b.prefixed("embeddings.position_embeddings.weight"),
                                           Shape{b.config.max_position_embeddings, width});
  const ValueId positions = b.network.add_embedding(table, inputs.positions, "embeddings.position_embeddings");
  x = b.network.add_elementwise("add", x, positions, "embeddings.add_position");
  x = b.layer_norm(x, b.prefixed("embeddings.LayerNorm"), "embeddings.LayerNorm");
  const bool project = b.family.projection == EmbeddingProjection::always ||
                       (b.family.projection == EmbeddingProjection::where_sizes_differ && width != b.config.hidden_size);
  const std::string name(b.family.projection_name);
  return project ? b.linear(x, b.prefixed(name), b.config.hidden_size, name) : x;
}

ValueId add_relative_bias(Builder& b) {
  if (b.family.relative_bias.empty()) return kNone;
  const std::string name(b.family.relative_bias);
  const Tensor& table = b.weights.tensor(b.prefixed(name) + ".weight", Shape{kRelativeBuckets, b.config.heads});
  return b.network.add_constant(name, relative_bias(table, b.config.max_position_embeddings));
}

// Post-norm: x = norm(x + attention(x)); x = norm(x + feed_forward(x)).
ValueId add_layer(Builder& b, ValueId x, const std::string& tensors, const std::string& nodes, ValueId bias) {
  const Family& f = b.family;
  const int64_t hidden = b.config.hidden_size;
  const auto name = [](const std::string& prefix, std::string_view rest) { return prefix + std::string(rest); };
  const auto linear = [&](ValueId input, std::string_view rest, int64_t features) {
    return b.linear(input, name(tensors, rest), features, name(nodes, rest));
  };
  const auto add_and_norm = [&](ValueId branch, ValueId residual, std::string_view rest) {
    const ValueId sum = b.network.add_elementwise("add", branch, residual, name(nodes, rest) + ".add");
    return b.layer_norm(sum, name(tensors, rest), name(nodes, rest));
  };
  const int64_t head_dim = hidden / b.config.heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  const ValueId query = linear(x, f.query, hidden);
  const ValueId key = linear(x, f.key, hidden);
  const ValueId value = linear(x, f.value, hidden);
  const ValueId context =
      b.network.add_attention(query, key, value, b.mask, bias, b.config.heads, scale, name(nodes, f.attention));
  x = add_and_norm(linear(context, f.attention_output, hidden), x, f.attention_norm);
  ValueId inner = linear(x, f.intermediate, b.config.intermediate_size);
  inner = add_activation(b.network, b.hidden_act(), inner, name(nodes, f.intermediate) + ".activation");
  return add_and_norm(linear(inner, f.output, hidden), x, f.output_norm);
}

std::string filled(std::string_view text, int64_t layer, int64_t group, int64_t inner) {
  return fmt::format(fmt::runtime(text), fmt::arg("layer", layer), fmt::arg("group", group), fmt::arg("inner", inner));
}

}  // namespace

void build_encoder(Builder& b) {
  const HuggingFaceConfig& config = b.config;
  if (config.hidden_size % config.heads != 0) {
    fail(ErrorCode::unsupported, "{}: field 'hidden_size': {} is not a multiple of the {} attention heads", config.file,
         config.hidden_size, config.heads);
  }
  const Inputs inputs = add_inputs(b);
  ValueId x = add_embeddings(b, inputs);
  const ValueId bias = add_relative_bias(b);
  for (int64_t i = 0; i < config.layers; ++i) {
    // In floating point, as transformers rounds it.
    const double layers_in_group = static_cast<double>(config.layers) / static_cast<double>(config.hidden_groups);
    const auto group = static_cast<int64_t>(static_cast<double>(i) / layers_in_group);
    for (int64_t inner = 0; inner < config.inner_groups; ++inner) {
      const std::string tensors = b.prefixed(filled(b.family.layer, i, group, inner));
      x = add_layer(b, x, tensors, filled(b.family.layer_node, i * config.inner_groups + inner, group, inner), bias);
    }
  }
  b.hidden = x;
  b.network.add_output("last_hidden_state", x);
}

}  // namespace bertie::models
