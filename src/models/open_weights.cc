// The public way to a checkpoint's tensors: bertie::Weights.
#include "base/error.h"
#include "bertie/model.h"
#include "formats/safetensors.h"

namespace bertie {

struct Weights::State {
  std::string path;
  TensorMap tensors;
};

Weights Weights::open(const std::string& path) {
  const bool one_file = path.ends_with(".safetensors");
  return Weights(std::make_shared<State>(State{path, one_file ? read_safetensors(path) : read_checkpoint(path)}));
}

Tensor Weights::tensor(std::string_view name) const {
  const auto found = state_->tensors.find(name);
  if (found == state_->tensors.end()) fail(ErrorCode::not_found, "{}: tensor '{}' is missing", state_->path, name);
  if (!found->second.tensor) {
    fail(ErrorCode::unsupported, "{}: tensor '{}' is stored as {} {}", state_->path, name, found->second.stored_dtype,
         fmt::format("[{}]", fmt::join(found->second.shape, ", ")));
  }
  return *found->second.tensor;
}

bool Weights::has(std::string_view name) const { return state_->tensors.contains(name); }

std::vector<std::string> Weights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, stored] : state_->tensors) names.push_back(name);
  return names;
}

}  // namespace bertie
