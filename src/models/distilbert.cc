// DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108).
#include "models/family.h"

namespace bertie::models {

constinit const Family kDistilBert{
    .model_type = "distilbert",
    .class_prefix = "DistilBert",
    .prefix = "distilbert.",
    .has_types = false,
    .layer = "transformer.layer.{layer}.",
    .layer_node = "transformer.layer.{layer}.",
    .query = "attention.q_lin",
    .key = "attention.k_lin",
    .value = "attention.v_lin",
    .attention = "attention",
    .attention_output = "attention.out_lin",
    .attention_norm = "sa_layer_norm",
    .intermediate = "ffn.lin1",
    .output = "ffn.lin2",
    .output_norm = "output_layer_norm",
    .layer_norm_eps = 1e-12,
    .pooler = "",
    .masked = {.dense = "vocab_transform",
               .norm = "vocab_layer_norm",
               .decoder = "vocab_projector",
               .bias = "vocab_projector.bias"},
    .sequence = {.dense = "pre_classifier", .activation = "relu", .output = "classifier"},
};

}  // namespace bertie::models
