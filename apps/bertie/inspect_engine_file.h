// What `bertie inspect` says of an engine file beside the model in it.
#pragma once

#include "bertie/model.h"
#include "json.h"

namespace bertie::cli {

// Whether the model came from an engine file; the functions below are for those.
bool is_from_engine_file(const Model& model);

// {"format_version", "sections": [{"name", "offset", "bytes", "checksum"}], "provenance": {...}}
Json engine_file_json(const Model& model);
void print_engine_file(const Model& model);

}  // namespace bertie::cli
