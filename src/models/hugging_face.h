// From a Hugging Face folder, or from a config and tensors, to a network and what is known about it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bertie/model.h"
#include "formats/hugging_face_config.h"
#include "formats/safetensors.h"
#include "models/family.h"

namespace bertie::models {

struct LoadedModel {
  Network network;
  ModelInfo info;
  std::string tokenizer;                   // the folder it would be in
  std::string tokenizer_json;              // or the text itself: see Tokenizer::json
  std::string provenance;                  // see Model::provenance
  std::shared_ptr<KernelTimings> timings;  // see Model::timings
};

// Throws as Model::load does.
LoadedModel load_hugging_face(const std::string& folder);

// The position id of a sequence's first token; 0 for a family that bertie does not know.
int64_t first_position(const HuggingFaceConfig& config);

// Whether Tokenizer::load finds something in this folder.
bool has_tokenizer(const std::string& folder);

// `source` names the tensors in errors.
LoadedModel build_model(const HuggingFaceConfig& config, TensorMap tensors, const std::string& source);

}  // namespace bertie::models
