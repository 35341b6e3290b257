// From an ONNX file, and what lies around it, to a network and what is known about it.
#pragma once

#include <string>

#include "models/hugging_face.h"

namespace bertie::models {

// config.json, tokenizer and sentence-transformers' modules.json are looked for beside the file and in its parent folder; none of
// them need be there. Throws as Model::load does.
LoadedModel load_onnx(const std::string& path);

}  // namespace bertie::models
