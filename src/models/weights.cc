#include "models/weights.h"

#include <algorithm>

#include "base/error.h"

namespace bertie::models {
namespace {

// TensorFlow's names for a LayerNorm's weight and bias, which old checkpoints keep.
std::string legacy_spelling(std::string_view name) {
  for (const auto& [now, before] : {std::pair<std::string_view, std::string_view>{".weight", ".gamma"}, {".bias", ".beta"}}) {
    if (name.ends_with(now)) return std::string(name.substr(0, name.size() - now.size())) + std::string(before);
  }
  return {};
}

}  // namespace

Weights::Weights(TensorMap tensors, std::string prefix, std::string source)
    : tensors_(std::move(tensors)), prefix_(std::move(prefix)), source_(std::move(source)) {
  prefixed_ = std::any_of(tensors_.begin(), tensors_.end(), [&](const auto& entry) { return entry.first.starts_with(prefix_); });
}

const TensorMap::value_type* Weights::resolve(std::string_view name) const {
  for (const std::string& spelling : {std::string(name), legacy_spelling(name)}) {
    if (spelling.empty()) continue;
    if (const auto found = tensors_.find(spelling); found != tensors_.end()) return &*found;
    if (!spelling.starts_with(prefix_)) continue;
    if (const auto found = tensors_.find(spelling.substr(prefix_.size())); found != tensors_.end()) return &*found;
  }
  return nullptr;
}

std::pair<const std::string&, const Tensor&> Weights::checked(std::string_view name, const Shape& shape) const {
  const auto* found = resolve(name);
  if (!found) {
    if (!prefixed_ && name.starts_with(prefix_)) name.remove_prefix(prefix_.size());
    fail(ErrorCode::not_found, "{}: tensor '{}' {} is missing", source_, name, shape.to_string());
  }
  const auto& [stored_name, stored] = *found;
  if (!std::equal(stored.shape.begin(), stored.shape.end(), shape.begin(), shape.end())) {
    fail(ErrorCode::invalid_file, "{}: tensor '{}' has shape [{}], expected {}", source_, stored_name,
         fmt::join(stored.shape, ", "), shape.to_string());
  }
  const bool floating = stored.tensor && (stored.tensor->dtype == DType::f32 || stored.tensor->dtype == DType::f16 ||
                                          stored.tensor->dtype == DType::bf16);
  if (!floating) {
    fail(ErrorCode::unsupported, "{}: tensor '{}' is stored as {} (F32, F16 and BF16 are supported)", source_, stored_name,
         stored.stored_dtype);
  }
  return {stored_name, *stored.tensor};
}

const Tensor& Weights::tensor(std::string_view name, const Shape& shape) {
  const auto& [stored_name, tensor] = checked(name, shape);
  if (used_.insert(stored_name).second) parameters_ += shape.elements();
  return tensor;
}

ValueId Weights::constant(Network& network, std::string_view name, const Shape& shape) {
  const auto& [stored_name, found] = checked(name, shape);
  const auto known = constants_.find(stored_name);
  if (known != constants_.end()) return known->second;
  return constants_[stored_name] = network.add_constant(stored_name, tensor(name, shape));
}

std::vector<std::string> Weights::unused() const {
  std::vector<std::string> names;
  for (const auto& [name, stored] : tensors_) {
    if (!used_.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace bertie::models
