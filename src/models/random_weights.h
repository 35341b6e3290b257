// Weights drawn to the statistics of a trained BERT, for benchmarks without files.
#pragma once

#include <cstdint>
#include <string>

#include "formats/hugging_face_config.h"
#include "formats/safetensors.h"

namespace bertie::models {

// "base", "large", "minilm" or "L,H,A,F". Throws Error(invalid_argument) naming the specification.
HuggingFaceConfig config_of_spec(const std::string& spec);

// Every tensor of a BertModel without pooler, in float32. A tensor's values depend on the seed, its name and its shape alone.
// Matrices and embeddings have the spread of a trained model, LayerNorm gains lie near 1 but for a few outlier channels.
TensorMap draw_bert_weights(const HuggingFaceConfig& config, uint64_t seed);

}  // namespace bertie::models
