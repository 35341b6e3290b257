// ELECTRA (Clark et al. 2020, https://arxiv.org/abs/2003.10555): generator (masked head) and discriminator (one logit a token).
#include "models/family.h"

namespace bertie::models {

constinit const Family kElectra{
    .model_type = "electra",
    .class_prefix = "Electra",
    .prefix = "electra.",
    .projection = EmbeddingProjection::where_sizes_differ,
    .projection_name = "embeddings_project",
    .embedding_size = 128,
    .pooler = "",
    .masked = {.dense = "generator_predictions.dense",
               .norm = "generator_predictions.LayerNorm",
               .decoder = "generator_lm_head",
               .bias = "generator_lm_head.bias",
               .activation = "gelu"},
    .sequence = {.dense = "classifier.dense", .activation = "gelu", .output = "classifier.out_proj"},
    .discriminator = "discriminator_predictions",
};

}  // namespace bertie::models
