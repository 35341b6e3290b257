// Reading the safetensors format (https://github.com/huggingface/safetensors#format), single files and sharded checkpoints.
//
//   8 bytes     N, little-endian: bytes of the header
//   N bytes     JSON: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"k": "v"}}
//   the rest    the tensors' bytes, little-endian, row-major; offsets count from here, without overlaps or holes
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bertie/tensor.h"

namespace bertie {

struct StoredTensor {
  std::string stored_dtype;  // as the file spells it: "F32", "F8_E4M3"
  std::vector<int64_t> shape;
  std::optional<Tensor> tensor;  // the file's own bytes; nothing where bertie has no such element type or rank
};

using TensorMap = std::map<std::string, StoredTensor, std::less<>>;

// `bytes` is a whole file, kept alive by `owner`; `file` names it in errors. Tensors alias `bytes` (one whose bytes are not
// aligned for its element type is copied). Throws Error(invalid_file) unless every size and offset checks out.
TensorMap parse_safetensors(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner, const std::string& file);

// Maps the file. Throws Error(not_found, io) too.
TensorMap read_safetensors(const std::string& path);

// `folder`/model.safetensors, else the shards that `folder`/model.safetensors.index.json names. A shard's path may not leave the
// folder; a tensor that the index names must be in its shard. Throws Error(not_found) where the folder has neither.
TensorMap read_checkpoint(const std::string& folder);
// The files that read_checkpoint reads; none where the folder has neither.
std::vector<std::string> checkpoint_files(const std::string& folder);

}  // namespace bertie
