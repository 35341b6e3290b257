// `bertie inspect --graph`: the network before and after the passes, as a picture.
#pragma once

#include <string>

#include "bertie/engine.h"
#include "bertie/model.h"

namespace bertie::cli {

// Empty where `path` ends in .svg, .dot or .html, else what is wrong with it.
std::string graph_path_error(const std::string& path);
// Throws Error(io) naming the path.
void write_graph(const std::string& path, const Model& model, const Engine& engine);

}  // namespace bertie::cli
