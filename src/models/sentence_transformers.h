// What surrounds a Hugging Face model in a sentence-transformers folder: pooling, dense layers, normalisation, length limit.
#pragma once

#include <string>
#include <vector>

#include "formats/sentence_transformers_config.h"
#include "models/builder.h"

namespace bertie::models {

// `folder`/modules.json; empty where the folder has none.
std::vector<SentenceModule> read_sentence_modules(const std::string& folder);

// Adds the output "sentence_embedding" and fills in info.pooling, max_sequence_length, lower_case and tasks.
// `transformer_folder` holds config.json. Modules without a Pooling add nothing.
void build_sentence_embedding(Builder& builder, const std::string& folder, const std::string& transformer_folder,
                              const std::vector<SentenceModule>& modules, ModelInfo& info);

}  // namespace bertie::models
