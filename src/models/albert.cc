// ALBERT (Lan et al. 2019, https://arxiv.org/abs/1909.11942): layers share weights by group, the embedding is factorised.
#include "models/family.h"

namespace bertie::models {

constinit const Family kAlbert{
    .model_type = "albert",
    .class_prefix = "Albert",
    .prefix = "albert.",
    .projection = EmbeddingProjection::always,
    .projection_name = "encoder.embedding_hidden_mapping_in",
    .embedding_size = 128,
    .layer = "encoder.albert_layer_groups.{group}.albert_layers.{inner}.",
    .layer_node = "encoder.layer.{layer}.",
    .query = "attention.query",
    .key = "attention.key",
    .value = "attention.value",
    .attention = "attention",
    .attention_output = "attention.dense",
    .attention_norm = "attention.LayerNorm",
    .intermediate = "ffn",
    .output = "ffn_output",
    .output_norm = "full_layer_layer_norm",
    .hidden_act = "gelu_new",
    .pooler = "pooler",
    .masked = {.dense = "predictions.dense",
               .norm = "predictions.LayerNorm",
               .decoder = "predictions.decoder",
               .bias = "predictions.bias"},
    .sequence = {},
    .pretraining_is_masked = true,
};

}  // namespace bertie::models
