// Running parts of a [batch, sequence] network on chosen masks and extents, to see what they mean.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// Concrete extents for the two open axes of an encoder; one that the network fixes keeps its number.
struct Extents {
  Dim batch_dim, sequence_dim;  // as the network spells them
  int64_t batch = 1;
  int64_t sequence = 1;

  Extents(const Dim& batch_dim, const Dim& sequence_dim, int64_t batch, int64_t sequence);
  // A value's shape; nullopt where other symbols are in it.
  std::optional<Shape> of(const SymbolicShape& shape) const;
};

// A tensor of any dtype, element i being number(i).
Tensor make_tensor(DType dtype, const Shape& shape, const std::function<double(int64_t)>& number);

// The masks that tell what a mask means: every mask of three tokens, one a sequence, and larger ones with holes and padding on both
// sides. Row-major [batch, sequence]; no sequence without an attended token but in `all_of_three`'s first.
std::vector<bool> probe_mask(int64_t batch, int64_t sequence, uint32_t seed);
std::vector<bool> all_of_three();  // [8, 3]

// The values, or nullopt where the network cannot be run so: an index outside its table, extents that contradict, an op without a
// reference kernel. A pass then takes it that the part means something else.
std::optional<std::vector<Tensor>> try_evaluate(const Network& network, std::span<const ValueId> wanted,
                                                const std::map<ValueId, Tensor>& inputs);
std::optional<Tensor> try_evaluate(const Network& network, ValueId wanted, const std::map<ValueId, Tensor>& inputs);

// Zeros for every input whose extents are known, so that shapes may be read of them; `mask` from `attended`.
std::map<ValueId, Tensor> probe_inputs(const Network& network, const Extents& extents, ValueId mask,
                                       const std::vector<bool>& attended);

}  // namespace bertie
