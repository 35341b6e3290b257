// What tells one model family from another: its tensor names and a few rules. A family is one row of data; encoder.cc and heads.cc
// build every family from it.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "bertie/model.h"

namespace bertie::models {

// A head that makes vocabulary logits: decoder(layer_norm(activation(dense(hidden)))).
struct MaskedHead {
  std::string_view dense;
  std::string_view norm;
  std::string_view decoder;          // its weight is the word-embedding table where they are tied
  std::string_view bias;             // the vocabulary bias; checkpoints may repeat it as the decoder's
  std::string_view activation = "";  // empty: config.json's hidden_act
};

// A head that makes one row of class logits a sequence: output(activation(dense(first token))).
struct SequenceHead {
  std::string_view dense;  // empty: the pooler takes its place
  std::string_view activation;
  std::string_view output = "classifier";
};

// RoBERTa's heads, which MPNet took over.
inline constexpr MaskedHead kLmHead = {.dense = "lm_head.dense",
                                       .norm = "lm_head.layer_norm",
                                       .decoder = "lm_head.decoder",
                                       .bias = "lm_head.bias",
                                       .activation = "gelu"};
inline constexpr SequenceHead kDenseClassifier = {
    .dense = "classifier.dense", .activation = "tanh", .output = "classifier.out_proj"};

enum class EmbeddingProjection { none, where_sizes_differ, always };

// Tensor names lack ".weight" and ".bias". Those of a layer follow the layer's own prefix.
struct Family {
  std::string_view model_type;    // config.json's
  std::string_view class_prefix;  // "Bert" of "BertForMaskedLM"
  std::string_view prefix;        // "bert.": before the encoder's tensors in checkpoints that have a head

  bool has_types = true;
  EmbeddingProjection projection = EmbeddingProjection::none;
  std::string_view projection_name = "";
  int64_t embedding_size = 0;  // where config.json states none; 0: the hidden size

  std::string_view layer = "encoder.layer.{layer}.";       // {group} and {inner} too
  std::string_view layer_node = "encoder.layer.{layer}.";  // prefix of node names: unlike `layer`, new for each layer
  std::string_view query = "attention.self.query";
  std::string_view key = "attention.self.key";
  std::string_view value = "attention.self.value";
  std::string_view attention = "attention.self";  // node name
  std::string_view attention_output = "attention.output.dense";
  std::string_view attention_norm = "attention.output.LayerNorm";
  std::string_view intermediate = "intermediate.dense";
  std::string_view output = "output.dense";
  std::string_view output_norm = "output.LayerNorm";
  std::string_view relative_bias = "";  // table [buckets, H], empty: none

  bool counts_non_pad = false;                  // positions: RoBERTa's rule; otherwise 0, 1, 2, ...
  int64_t pad_id = 0;                           // where config.json states none
  std::optional<int64_t> position_pad_id = {};  // what counts_non_pad counts by, whatever config.json says
  std::optional<double> layer_norm_eps = {};    // whatever config.json says
  std::string_view hidden_act = "gelu";         // where config.json states none

  std::string_view pooler = "pooler.dense";  // empty: none
  MaskedHead masked;
  SequenceHead sequence;
  bool pretraining_is_masked = false;   // ForPreTraining has the masked head
  std::string_view discriminator = "";  // ELECTRA's ForPreTraining: prefix of its two dense layers
  std::string_view token_classifier = "classifier";
  std::string_view question_answering = "qa_outputs";
};

extern const Family kBert;
extern const Family kRoberta;
extern const Family kXlmRoberta;
extern const Family kCamembert;
extern const Family kDistilBert;
extern const Family kAlbert;
extern const Family kElectra;
extern const Family kMpnet;

std::span<const Family* const> families();
// The family whose class_prefix begins "BertForMaskedLM"; nullptr where there is none.
const Family* family_of_architecture(std::string_view architecture);

}  // namespace bertie::models
