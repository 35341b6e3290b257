// BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805).
#include "models/family.h"

namespace bertie::models {

constinit const Family kBert{
    .model_type = "bert",
    .class_prefix = "Bert",
    .prefix = "bert.",
    .masked = {.dense = "cls.predictions.transform.dense",
               .norm = "cls.predictions.transform.LayerNorm",
               .decoder = "cls.predictions.decoder",
               .bias = "cls.predictions.bias"},
    .sequence = {},
    .pretraining_is_masked = true,
};

}  // namespace bertie::models
