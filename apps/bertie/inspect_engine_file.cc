#include "inspect_engine_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/mapped_file.h"
#include "formats/engine_file.h"
#include "formats/json.h"
#include "output.h"

namespace bertie::cli {
namespace {

nlohmann::json provenance_of(const Model& model) {
  return parse_json(model.provenance(), model.info().source + ": section provenance");
}

std::vector<EngineSection> sections_of(const Model& model) {
  const auto file = MappedFile::open(model.info().source);
  ThreadPool pool(0);
  return parse_engine_file(file->bytes(), model.info().source, pool);
}

std::string checksum_text(const EngineSection& section) { return fmt::format("{:016x}", section.checksum); }

// What stands under `name`, however little the file says of it.
std::string text_of(const nlohmann::json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (found == object.end()) return "?";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

nlohmann::json list_of(const nlohmann::json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() && found->is_array() ? *found : nlohmann::json::array();
}

}  // namespace

bool is_from_engine_file(const Model& model) { return !model.provenance().empty(); }

Json engine_file_json(const Model& model) {
  Json sections = Json::array();
  for (const EngineSection& section : sections_of(model)) {
    sections.push_back({{"name", section.name},
                        {"offset", section.offset},
                        {"bytes", section.bytes.size()},
                        {"checksum", checksum_text(section)}});
  }
  return {{"format_version", kEngineFileVersion}, {"sections", std::move(sections)}, {"provenance", provenance_of(model)}};
}

void print_engine_file(const Model& model) {
  const nlohmann::json provenance = provenance_of(model);
  write_line(fmt::format("\nengine file of format {}, built by bertie {}", kEngineFileVersion, text_of(provenance, "bertie")));
  for (const EngineSection& section : sections_of(model)) {
    write_line(fmt::format("  section {:<12} {:>12} bytes at {:>8}  checksum {}", section.name, section.bytes.size(),
                           section.offset, checksum_text(section)));
  }
  for (const auto& source : list_of(provenance, "sources")) {
    write_line(fmt::format("  from    {:<28} {:>12} bytes  xxh3-128 {}", text_of(source, "file"), text_of(source, "bytes"),
                           text_of(source, "xxh3_128")));
  }
  write_line("  options " + text_of(provenance, "options"));
  for (const auto& pass : list_of(provenance, "passes")) {
    write_line(fmt::format("  pass    {:>2} {:<24} {:>4} matches", text_of(pass, "number"), text_of(pass, "name"),
                           text_of(pass, "matches")));
  }
  const auto kernels = provenance.find("kernels");
  if (kernels != provenance.end()) write_line("  kernels chosen " + text_of(*kernels, "chosen"));
}

}  // namespace bertie::cli
