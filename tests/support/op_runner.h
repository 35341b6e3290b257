// Runs one op on one backend, outside any engine.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "backend/kernel.h"

namespace bertie::test {

struct Operand {
  Tensor tensor;  // without data: the input is left out
  bool constant = false;
};

struct OpCase {
  std::string op;
  Attributes attributes;
  std::vector<Operand> inputs;             // in the op's order
  std::vector<int64_t> lengths;            // of the packed sequences; empty where the op does not ask
  std::vector<int32_t> columns;            // of the packed tokens; empty: 0, 1, ... in each sequence
  std::vector<int32_t> queries_only = {};  // of the packed sequences; empty: none
};

struct OpResult {
  std::string kernel;   // empty where every kernel of the backend refused
  std::string refusal;  // the last reason given
  Shape shape;
  std::vector<float> values;                    // of the first output, widened; none where it is not floating
  std::vector<std::vector<std::byte>> outputs;  // of run_device_op: all of them, as they are kept
};

// The op's first output must be floating. Output and workspace are filled with NaN first, so that an element left unwritten or scratch read before it was written shows;
// bytes written behind either end throw std::logic_error.
OpResult run_op(const Backend& backend, const OpCase& op_case, int threads = 1);

// A case as a network of one node, and its batch.
struct BuiltCase {
  explicit BuiltCase(const OpCase& op_case);
  BuiltCase(const BuiltCase&) = delete;
  BuiltCase& operator=(const BuiltCase&) = delete;
  const Node& node() const { return network.node(network.value(output).producer); }

  Network network;
  std::vector<TensorView> views;  // of the inputs, in the host's memory
  ValueId output = kNone;
  std::vector<int32_t> starts{0};
  PackedBatch batch;
  Shape shape;  // of the first output
};

// As run_op, on a device: its kernels in this precision, in memory of its own. Besides, nothing may be written behind the output's end.
OpResult run_device_op(const Backend& backend, const std::shared_ptr<Device>& device, const OpCase& op_case,
                       const std::string& precision = "fp32");

// Standard normal values, each rounded to `dtype` (f32, f16, bf16 or f64), scaled and shifted.
Tensor random_tensor(std::mt19937& random, const Shape& shape, DType dtype = DType::f32, float scale = 1, float shift = 0);
Tensor tensor_of(const Shape& shape, const std::vector<float>& values, DType dtype = DType::f32);
Tensor indices(const Shape& shape, const std::vector<int64_t>& values, DType dtype = DType::i32);

}  // namespace bertie::test
