// What surrounds a Hugging Face model in a sentence-transformers folder: pooling, dense layers, normalisation, length limit.
#pragma once

#include <string>
#include <vector>

#include "bertie/model.h"
#include "formats/sentence_transformers_config.h"

namespace bertie::models {

// `folder`/modules.json; empty where the folder has none.
std::vector<SentenceModule> read_sentence_modules(const std::string& folder);

struct EncoderValues {
  ValueId hidden = kNone;  // [batch, sequence, E]
  ValueId mask = kNone;    // [batch, sequence], or kNone
};

// Adds the output "sentence_embedding" and fills in info.pooling, max_sequence_length, lower_case and tasks.
// `transformer_folder` holds config.json. Modules without a Pooling add nothing.
void build_sentence_embedding(Network& network, const EncoderValues& encoder, const std::string& folder,
                              const std::string& transformer_folder, const std::vector<SentenceModule>& modules, ModelInfo& info);

// Fills in info.max_sequence_length and lower_case.
void read_sentence_limits(const std::string& transformer_folder, ModelInfo& info);

}  // namespace bertie::models
