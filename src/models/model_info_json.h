// ModelInfo as JSON, for engine files.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "bertie/model.h"

namespace bertie::models {

// All but `source` and `files`: those say where the model came from, not what it is.
nlohmann::json model_info_to_json(const ModelInfo& info);

// `file` becomes the source, and names it in errors. Throws Error(invalid_file).
ModelInfo model_info_from_json(const nlohmann::json& json, const std::string& file);

}  // namespace bertie::models
