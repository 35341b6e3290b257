// MPNet (Song et al. 2020, https://arxiv.org/abs/2004.09297): a relative position bias shared by all layers, no type embeddings.
#include "models/family.h"

namespace bertie::models {

constinit const Family kMpnet{
    .model_type = "mpnet",
    .class_prefix = "MPNet",
    .prefix = "mpnet.",
    .has_types = false,
    .query = "attention.attn.q",
    .key = "attention.attn.k",
    .value = "attention.attn.v",
    .attention = "attention.attn",
    .attention_output = "attention.attn.o",
    .attention_norm = "attention.LayerNorm",
    .relative_bias = "encoder.relative_attention_bias",
    .counts_non_pad = true,
    .pad_id = 1,
    .position_pad_id = 1,
    .masked = kLmHead,
    .sequence = kDenseClassifier,
};

}  // namespace bertie::models
