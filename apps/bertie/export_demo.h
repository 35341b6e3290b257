// Inputs to try an exported file with, and what bertie computes from them.
#pragma once

#include <string>

#include "options.h"

namespace bertie::cli {

// Writes FOLDER/NAME.npy for every input of the file (i64 [2, sequence]: two sample sentences, the shorter one padded; made-up ids
// where the model has no tokenizer) and every output (f32). Throws Error(io) too.
void write_demo(const CommonOptions& common, const Model& model, const std::string& folder, bool position_ids);

}  // namespace bertie::cli
