#define XXH_INLINE_ALL
#include "models/weights_hash.h"

#include <xxhash.h>

#include <fmt/format.h>

#include "base/mapped_file.h"
#include "formats/json.h"

namespace bertie::models {
namespace {

// Configs, vocabularies and module lists are what they are beside any weights.
bool holds_weights(const std::string& file) { return !file.ends_with(".json") && !file.ends_with(".txt"); }

}  // namespace

std::string hash_of(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_of_file(const std::string& path) { return hash_of(MappedFile::open(path)->bytes()); }

std::string weights_hash(const LoadedModel& model) {
  std::string hashes;
  if (!model.provenance.empty()) {  // an engine file: of what it was made from
    for (const nlohmann::json& source :
         parse_json(model.provenance, model.info.source).value("sources", nlohmann::json::array())) {
      const JsonFields fields(source, model.info.source, "sources.");
      if (holds_weights(fields.text("file"))) hashes += fields.text("xxh3_128");
    }
  } else {
    for (const std::string& file : model.info.files) {
      if (holds_weights(file)) hashes += hash_of_file(file);
    }
  }
  if (hashes.empty()) hashes = model.info.source;  // drawn at random
  return hash_of(std::as_bytes(std::span(hashes)));
}

}  // namespace bertie::models
