#include "padded_inputs.h"

#include <algorithm>
#include <limits>

#include <fmt/ranges.h>

#include "base/error.h"
#include "formats/npy.h"

namespace bertie::cli {
namespace {

template <typename T>
std::vector<int32_t> narrowed(const TensorView& view, const std::string& path) {
  const std::span<const T> values(view.as<T>(), static_cast<size_t>(view.shape.elements()));
  std::vector<int32_t> result;
  result.reserve(values.size());
  for (T value : values) {
    if constexpr (sizeof(T) > sizeof(int32_t)) {
      if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
        fail(ErrorCode::invalid_argument, "{}: {} is out of range", path, value);
      }
    }
    result.push_back(static_cast<int32_t>(value));
  }
  return result;
}

std::vector<int32_t> integers(const TensorView& view, const std::string& path) {
  switch (view.dtype) {
    case DType::i64: return narrowed<int64_t>(view, path);
    case DType::i32: return narrowed<int32_t>(view, path);
    case DType::i8: return narrowed<int8_t>(view, path);
    case DType::u8: return narrowed<uint8_t>(view, path);
    case DType::boolean: return narrowed<bool>(view, path);
    default: fail(ErrorCode::invalid_argument, "{}: the dtype is {}; an integer or bool is needed", path, dtype_name(view.dtype));
  }
}

}  // namespace

PaddedInputs::PaddedInputs(const Model& model, const std::vector<std::string>& assignments)
    : rule_(model.network().position_rule().value_or(PositionRule{})) {
  std::vector<std::string> seen;
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    const std::string name = assignment.substr(0, equals), path = assignment.substr(equals + 1);
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      fail(ErrorCode::invalid_argument, "input {} is given twice", name);
    }
    seen.push_back(name);
    read(model, name, path);
  }
  if (std::find(seen.begin(), seen.end(), "input_ids") == seen.end()) {
    fail(ErrorCode::invalid_argument, "the input input_ids is missing");
  }
}

void PaddedInputs::read(const Model& model, const std::string& name, const std::string& path) {
  std::vector<std::string> names;
  for (ValueId input : model.network().inputs()) names.push_back(model.network().value(input).name);
  std::vector<int32_t>* place = name == "input_ids"        ? &ids_
                                : name == "token_type_ids" ? &types_
                                : name == "position_ids"   ? &positions_
                                : name == "attention_mask" ? &mask_
                                                           : nullptr;
  if (!place || std::find(names.begin(), names.end(), name) == names.end()) {
    fail(ErrorCode::invalid_argument, "the network has no input {}; it has {}", name, fmt::join(names, ", "));
  }
  const Tensor tensor = read_npy(path);
  if (tensor.shape.rank() != 2) {
    fail(ErrorCode::invalid_argument, "{}: the shape is {}; [batch, sequence] is needed", path, tensor.shape.to_string());
  }
  if (batch_ < 0) {
    batch_ = tensor.shape[0];
    sequence_ = tensor.shape[1];
    shape_from_ = name;
  } else if (tensor.shape[0] != batch_ || tensor.shape[1] != sequence_) {
    fail(ErrorCode::invalid_argument, "{}: the shape is {}, but that of {} is [{}, {}]", path, tensor.shape.to_string(),
         shape_from_, batch_, sequence_);
  }
  *place = integers(tensor.view(), path);
  if (name == "input_ids") check_range(*place, model.info().vocabulary, path);
  if (name == "token_type_ids") check_range(*place, model.info().type_vocabulary, path);
}

void PaddedInputs::check_range(const std::vector<int32_t>& ids, int64_t count, const std::string& path) const {
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id < 0 || id >= count; });
  if (bad == ids.end()) return;
  const int64_t at = bad - ids.begin();
  fail(ErrorCode::invalid_argument, "{}: the id {} at [{}, {}] is out of range [0, {})", path, *bad, at / sequence_,
       at % sequence_, count);
}

int64_t PaddedInputs::attended(int64_t row) const {
  int64_t count = 0;
  for (int64_t column = 0; column < sequence_; ++column) count += is_attended(row, column) ? 1 : 0;
  return count;
}

PackedRows::PackedRows(const PaddedInputs& inputs, int64_t first, int64_t last) {
  starts_.push_back(0);
  bool holes = false;
  for (int64_t row = first; row < last; ++row) {
    if (inputs.attended(row) == 0) continue;
    int32_t counted = 0;  // tokens of the padded row so far that the position rule counts
    for (int64_t column = 0; column < inputs.sequence_; ++column) {
      const size_t at = inputs.at(row, column);
      const int32_t id = inputs.ids_[at];
      const bool padding = inputs.rule_.padding_id >= 0 && id == inputs.rule_.padding_id;
      const int32_t position = padding ? inputs.rule_.padding_id : inputs.rule_.first + counted;
      if (!padding) ++counted;
      if (!inputs.is_attended(row, column)) continue;
      holes = holes || column != static_cast<int64_t>(ids_.size()) - starts_.back();
      ids_.push_back(id);
      columns_.push_back(static_cast<int32_t>(column));
      positions_.push_back(inputs.positions_.empty() ? position : inputs.positions_[at]);
      if (!inputs.types_.empty()) types_.push_back(inputs.types_[at]);
    }
    longest_ = std::max(longest_, static_cast<int64_t>(ids_.size()) - starts_.back());
    starts_.push_back(static_cast<int32_t>(ids_.size()));
  }
  if (!holes) columns_.clear();
}

Batch PackedRows::batch() const {
  Batch batch;
  batch.token_ids = ids_;
  batch.type_ids = types_;
  batch.position_ids = positions_;
  batch.cumulative_lengths = starts_;
  batch.columns = columns_;
  return batch;
}

}  // namespace bertie::cli
