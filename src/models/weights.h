// The tensors of a checkpoint as constants of a network, found under the names that checkpoints use.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bertie/network.h"
#include "formats/safetensors.h"

namespace bertie::models {

class Weights {
 public:
  // Names that begin with `prefix` ("bert.") are also found without it; `source` names the files in errors.
  Weights(TensorMap tensors, std::string prefix, std::string source);

  // Whether there is a tensor of this name, or of its legacy spelling (gamma, beta).
  bool has(std::string_view name) const { return resolve(name) != nullptr; }
  // The tensor's constant in `network`, made when first asked for, so that shared tensors are one value. Throws
  // Error(not_found) for a missing tensor, Error(invalid_file) for another shape, Error(unsupported) for another dtype than
  // F32, F16 and BF16.
  ValueId constant(Network& network, std::string_view name, const Shape& shape);
  // The tensor itself, checked as above and counted as used.
  const Tensor& tensor(std::string_view name, const Shape& shape);
  // As `tensor`, not counted as used.
  const Tensor& peek(std::string_view name, const Shape& shape) const { return checked(name, shape).second; }

  int64_t parameters() const { return parameters_; }
  std::vector<std::string> unused() const;
  const std::string& source() const { return source_; }

 private:
  const TensorMap::value_type* resolve(std::string_view name) const;
  // The stored name and the tensor.
  std::pair<const std::string&, const Tensor&> checked(std::string_view name, const Shape& shape) const;

  TensorMap tensors_;
  std::string prefix_;
  bool prefixed_ = false;  // some tensor has the prefix: missing ones are named as these are
  std::string source_;
  std::map<std::string, ValueId, std::less<>> constants_;
  std::set<std::string, std::less<>> used_;
  int64_t parameters_ = 0;
};

}  // namespace bertie::models
