// What encoder.cc and heads.cc build a network with.
#pragma once

#include <string>
#include <string_view>

#include "bertie/model.h"
#include "formats/hugging_face_config.h"
#include "models/family.h"
#include "models/weights.h"

namespace bertie::models {

// The activations that networks are built with: "gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid", "identity".
// Throws Error(unsupported) naming config.json's `field`.
std::string activation_of_config(std::string_view hidden_act, const std::string& file);
ValueId add_activation(Network& network, std::string_view activation, ValueId x, const std::string& node);

struct Builder {
  const Family& family;
  const HuggingFaceConfig& config;
  Weights& weights;
  Network& network;

  // Values that heads read; made by build_encoder.
  ValueId mask = kNone;
  ValueId hidden = kNone;      // [batch, sequence, E]
  ValueId word_table = kNone;  // [V, embedding_size]

  int64_t embedding_size() const;  // width of the embedding tables
  double layer_norm_eps() const { return family.layer_norm_eps.value_or(config.layer_norm_eps); }
  std::string hidden_act() const;
  int64_t width(ValueId value) const { return network.value(value).shape.back().size; }
  // An encoder tensor's name as checkpoints with a head spell it.
  std::string prefixed(std::string_view name) const { return std::string(family.prefix) + std::string(name); }

  // x [..., K] -> [..., features] by the tensors NAME.weight and NAME.bias; the node is called `node`.
  ValueId linear(ValueId x, const std::string& name, int64_t features, const std::string& node);
  ValueId layer_norm(ValueId x, const std::string& name, const std::string& node);
};

// Inputs, embeddings and layers. Sets mask, hidden and word_table.
void build_encoder(Builder& builder);

// The pooler where the checkpoint has one, and the head that config.json's architecture names, as network outputs.
// Fills in info's labels, problem type, score activation, tasks and squeezed outputs. Throws Error(unsupported) for an architecture
// that the family lacks.
void build_heads(Builder& builder, ModelInfo& info);

// What config.json says about a classification head's scores. Throw Error(unsupported) for what is not known.
ProblemType problem_type(const HuggingFaceConfig& config);
std::string score_activation(const HuggingFaceConfig& config);

inline constexpr int64_t kRelativeBuckets = 32;
// The `attention` op's bias [H, 2P-1] from MPNet's table [kRelativeBuckets, H].
Tensor relative_bias(const Tensor& table, int64_t positions);

}  // namespace bertie::models
