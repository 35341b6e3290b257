// The network inputs that a packed batch stands for: its own ids where the network takes them packed, padded tensors made from them
// where it does not.
#pragma once

#include <span>
#include <vector>

#include "backend/kernel.h"
#include "engine/engine_impl.h"

namespace bertie {

class BatchInputs {
 public:
  // Packed defaults are made for as many tokens as `limits` allows. Throws Error(unsupported) naming an input that a batch does
  // not hold.
  BatchInputs(const Engine::Impl& engine, const SessionLimits& limits);

  // One view a network input; they live until the next call, and as long as the batch's spans. The batch has been checked.
  // Allocates only for padded inputs that are larger than before. Throws Error(invalid_argument) for a batch that the network's padded
  // inputs cannot hold.
  std::span<const TensorView> bind(const Batch& batch, const PackedBatch& packed);

 private:
  enum class Kind { unread, packed, padded, head_rows, first_rows };
  struct Input {
    Kind kind = Kind::unread;
    InputRole role = InputRole::none;
    DType dtype = DType::i32;
    SymbolicShape shape;
    std::string name;
    std::vector<std::byte> bytes;  // of a padded one
  };
  std::span<const int32_t> packed_ids(InputRole role, const Batch& batch);
  void fill_padded(Input& input, const Batch& batch, const PackedBatch& packed, Shape& shape);

  const Engine::Impl& engine_;
  std::vector<Input> inputs_;
  std::vector<TensorView> views_;
  std::vector<int32_t> default_types_, default_positions_;
  std::vector<int32_t> padded_ids_, padded_values_;  // [B, S]
};

PackedBatch packed_batch(const Batch& batch);

}  // namespace bertie
