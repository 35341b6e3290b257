// A node's shape rule on concrete inputs: the extents that only the run knows.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "network/op.h"

namespace bertie {

using Symbols = std::map<std::string, int64_t, std::less<>>;

struct ConcreteOutput {
  DType dtype = DType::f32;
  Shape shape;
};

// Keeps what the last inputs gave: inputs of the same shapes, and the same elements where the rule may read them, cost a comparison.
class ConcreteRule {
 public:
  ConcreteRule(const Network& network, const Node& node);

  // `inputs` as the node's, one that is left out with null data; empty tensors may have null data too. `symbols` are what extents stand
  // for that no input tells: those of a packed batch. Throws Error(invalid_argument) as the rule does, and where an extent depends on more.
  std::span<const ConcreteOutput> infer(std::span<const TensorView> inputs, const Symbols& symbols = {});

 private:
  bool same_as_last(std::span<const TensorView> inputs) const;

  Node node_;
  std::vector<Value> values_;  // one an input; its constant borrows the bytes during a call
  std::vector<bool> present_;
  bool reads_data_ = false;                            // see OpDescriptor
  bool known_ = false;                                 // whether what follows is a result
  std::vector<TensorView> last_;                       // shapes alone
  std::vector<std::vector<std::byte>> last_elements_;  // of small integer inputs
  std::vector<ConcreteOutput> outputs_;
};

}  // namespace bertie
