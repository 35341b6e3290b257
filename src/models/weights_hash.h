// Hashes that say which files a model came from.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "models/hugging_face.h"

namespace bertie::models {

// XXH3-128, as `xxh128sum` prints it.
std::string hash_of(std::span<const std::byte> bytes);
// Throws Error(not_found, io).
std::string hash_of_file(const std::string& path);

// See Model::weights_hash.
std::string weights_hash(const LoadedModel& model);

}  // namespace bertie::models
