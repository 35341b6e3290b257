#include "engine/batch_inputs.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "engine/batch_check.h"
#include "engine/network_inputs.h"

namespace bertie {

BatchInputs::BatchInputs(const Engine::Impl& engine, const SessionLimits& limits)
    : engine_(engine),
      default_types_(static_cast<size_t>(limits.tokens), 0),
      default_positions_(static_cast<size_t>(limits.tokens)) {
  const Network& network = engine.network;
  for (ValueId id : network.inputs()) {
    const Value& value = network.value(id);
    Input input{Kind::unread, value.role, value.dtype, value.shape, value.name, {}};
    if (!is_read(network, id)) {
      inputs_.push_back(std::move(input));
      continue;
    }
    if (value.name == kHeadRows) {
      input.kind = Kind::head_rows;
    } else if (value.name == kFirstRows) {
      input.kind = Kind::first_rows;
    } else if (value.role != InputRole::none && is_packed(value)) {
      input.kind = Kind::packed;
    } else if (value.role != InputRole::none && value.shape.size() == 2) {
      input.kind = Kind::padded;
    } else {
      fail(ErrorCode::unsupported, "network input '{}' {}: a batch does not hold it, a TensorSession takes it", value.name,
           to_string(value.shape));
    }
    inputs_.push_back(std::move(input));
  }
  views_.resize(inputs_.size());
}

std::span<const int32_t> BatchInputs::packed_ids(InputRole role, const Batch& batch) {
  if (role == InputRole::token_ids) return batch.token_ids;
  if (role == InputRole::type_ids) return batch.type_ids.empty() ? std::span<const int32_t>(default_types_) : batch.type_ids;
  if (!batch.position_ids.empty()) return batch.position_ids;
  fill_positions(batch, engine_.position_rule, default_positions_);
  return default_positions_;
}

std::span<const TensorView> BatchInputs::bind(const Batch& batch, const PackedBatch& packed) {
  padded_ids_.clear();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Input& input = inputs_[i];
    TensorView& view = views_[i];
    switch (input.kind) {
      case Kind::unread: break;
      case Kind::head_rows: view = {batch.head_rows.data(), DType::i32, {packed.rows}}; break;
      // Entry b is the first row of sequence b.
      case Kind::first_rows: view = {packed.cumulative_lengths, DType::i32, {packed.sequences}}; break;
      case Kind::packed: view = {packed_ids(input.role, batch).data(), DType::i32, {packed.tokens}}; break;
      case Kind::padded: {
        Shape shape;
        fill_padded(input, batch, packed, shape);
        view = {input.bytes.data(), input.dtype, shape};
        break;
      }
    }
  }
  return views_;
}

void BatchInputs::fill_padded(Input& input, const Batch& batch, const PackedBatch& packed, Shape& shape) {
  int64_t longest = packed.longest;
  for (int32_t column : batch.columns) longest = std::max(longest, int64_t{column} + 1);
  if (input.shape[1].is_fixed()) {
    if (longest > input.shape[1].size) {
      fail(ErrorCode::invalid_argument, "batch: a sequence of {} columns: network input '{}' is {}", longest, input.name,
           to_string(input.shape));
    }
    longest = input.shape[1].size;
  }
  if (input.shape[0].is_fixed() && input.shape[0].size != packed.sequences) {
    fail(ErrorCode::invalid_argument, "batch: {} sequences: network input '{}' is {}", packed.sequences, input.name,
         to_string(input.shape));
  }
  if (engine_.network.input_of(InputRole::attention_mask) == kNone && packed.tokens != packed.sequences * longest) {
    fail(ErrorCode::invalid_argument,
         "batch: sequences of different lengths: the network has no attention_mask, and runs padded");
  }
  shape = Shape{packed.sequences, longest};
  const auto elements = static_cast<size_t>(packed.sequences * longest);
  const auto scatter = [&](std::vector<int32_t>& padded, int32_t filler, auto value) {
    padded.assign(elements, filler);
    for (int64_t b = 0; b < packed.sequences; ++b) {
      for (int32_t t = packed.cumulative_lengths[b]; t < packed.cumulative_lengths[b + 1]; ++t) {
        const int64_t column = packed.columns ? packed.columns[t] : t - packed.cumulative_lengths[b];
        padded[static_cast<size_t>(b * longest + column)] = value(b, t);
      }
    }
  };
  const PositionRule& rule = engine_.position_rule;
  const int32_t filler = rule.padding_id >= 0 ? rule.padding_id : 0;
  const auto own = [](std::span<const int32_t> ids) { return [ids](int64_t, int32_t t) { return ids[static_cast<size_t>(t)]; }; };
  switch (input.role) {
    case InputRole::attention_mask:
      scatter(padded_values_, 0, [&](int64_t b, int32_t t) { return t >= packed.first_key(b) ? 1 : 0; });
      break;
    case InputRole::token_ids: scatter(padded_values_, filler, own(batch.token_ids)); break;
    case InputRole::type_ids: scatter(padded_values_, 0, own(packed_ids(input.role, batch))); break;
    default:
      if (!batch.position_ids.empty()) {
        scatter(padded_values_, 0, own(batch.position_ids));
      } else {
        if (padded_ids_.empty()) scatter(padded_ids_, filler, own(batch.token_ids));
        padded_values_.resize(elements);
        fill_padded_positions(padded_ids_, longest, rule, padded_values_);
      }
  }
  input.bytes.resize(elements * dtype_size(input.dtype));
  write_as(input.dtype, padded_values_, input.bytes.data());
}

PackedBatch packed_batch(const Batch& batch) {
  PackedBatch packed;
  packed.tokens = static_cast<int64_t>(batch.token_ids.size());
  packed.sequences = static_cast<int64_t>(batch.cumulative_lengths.size()) - 1;
  packed.rows = static_cast<int64_t>(batch.head_rows.size());
  packed.longest = longest_sequence(batch);
  packed.cumulative_lengths = batch.cumulative_lengths.data();
  packed.columns = batch.columns.empty() ? nullptr : batch.columns.data();
  packed.queries_only = batch.queries_only.empty() ? nullptr : batch.queries_only.data();
  return packed;
}

}  // namespace bertie
