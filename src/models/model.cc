#include "bertie/model.h"

#include <mutex>

#include "base/error.h"
#include "models/hugging_face.h"
#include "models/onnx_model.h"
#include "models/random_weights.h"

namespace bertie {

struct Model::State {
  models::LoadedModel loaded;
  std::string tokenizer_path;  // empty: there is none
  std::mutex mutex;            // of `tokenizer`
  std::shared_ptr<const Tokenizer> tokenizer;
};

Model Model::load(const std::string& path, const ModelOptions& options) {
  auto state = std::make_shared<State>();
  state->loaded = path.ends_with(".onnx") ? models::load_onnx(path) : models::load_hugging_face(path);
  state->tokenizer_path = options.tokenizer.empty() ? state->loaded.tokenizer : options.tokenizer;
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

std::shared_ptr<const Tokenizer> Model::tokenizer() const {
  if (state_->tokenizer_path.empty()) fail(ErrorCode::not_found, "{}: has no tokenizer", info().source);
  std::lock_guard lock(state_->mutex);
  if (!state_->tokenizer) state_->tokenizer = Tokenizer::load(state_->tokenizer_path);
  return state_->tokenizer;
}

}  // namespace bertie
