#include "bertie/model.h"

#include <filesystem>
#include <mutex>

#include "base/error.h"
#include "models/engine_model.h"
#include "models/hugging_face.h"
#include "models/onnx_model.h"
#include "models/random_weights.h"
#include "models/weights_hash.h"

namespace bertie {

struct Model::State {
  models::LoadedModel loaded;
  std::mutex mutex;  // of `tokenizer`
  std::shared_ptr<const Tokenizer> tokenizer;
};

namespace {

// The files that Tokenizer::load reads of a folder, or the tokenizer.json itself.
void add_tokenizer_files(const std::string& path, std::vector<std::string>& files) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    files.push_back(path);
    return;
  }
  for (const char* name : {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string file = path + "/" + name;
    if (std::filesystem::is_regular_file(file, ignored)) files.push_back(file);
  }
}

}  // namespace

Model Model::load(const std::string& path, const ModelOptions& options) {
  auto state = std::make_shared<State>();
  models::LoadedModel& loaded = state->loaded;
  std::error_code ignored;
  loaded = path.ends_with(".onnx")                           ? models::load_onnx(path)
           : std::filesystem::is_regular_file(path, ignored) ? models::load_engine_model(path)
                                                             : models::load_hugging_face(path);
  if (!options.tokenizer.empty()) {
    loaded.tokenizer = options.tokenizer;
    loaded.tokenizer_json.clear();
  }
  if (!loaded.tokenizer.empty()) add_tokenizer_files(loaded.tokenizer, loaded.info.files);
  return Model(std::move(state));
}

Model Model::random(const std::string& spec, uint64_t seed) {
  const HuggingFaceConfig config = models::config_of_spec(spec);
  auto state = std::make_shared<State>();
  state->loaded = models::build_model(config, models::draw_bert_weights(config, seed), "random:" + spec);
  return Model(std::move(state));
}

std::string ModelInfo::output(std::string_view name) const {
  const auto found = output_names.find(name);
  return std::string(found == output_names.end() ? name : found->second);
}

const Network& Model::network() const { return state_->loaded.network; }
const ModelInfo& Model::info() const { return state_->loaded.info; }

const std::string& Model::provenance() const { return state_->loaded.provenance; }

std::string Model::weights_hash() const { return models::weights_hash(state_->loaded); }

std::shared_ptr<KernelTimings> Model::timings() const { return state_->loaded.timings; }

bool Model::has_tokenizer() const {
  const models::LoadedModel& loaded = state_->loaded;
  if (loaded.tokenizer.empty()) return !loaded.tokenizer_json.empty();
  std::error_code ignored;
  return std::filesystem::is_regular_file(loaded.tokenizer, ignored) || models::has_tokenizer(loaded.tokenizer);
}

std::shared_ptr<const Tokenizer> Model::tokenizer() const {
  const models::LoadedModel& loaded = state_->loaded;
  if (loaded.tokenizer.empty() && loaded.tokenizer_json.empty())
    fail(ErrorCode::not_found, "{}: has no tokenizer (--tokenizer names a folder or a tokenizer.json)", info().source);
  std::lock_guard lock(state_->mutex);
  if (!state_->tokenizer) {
    state_->tokenizer = loaded.tokenizer_json.empty()
                            ? Tokenizer::load(loaded.tokenizer)
                            : Tokenizer::from_json(loaded.tokenizer_json, info().source + ": section tokenizer");
  }
  return state_->tokenizer;
}

}  // namespace bertie
