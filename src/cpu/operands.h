// What kernels of this folder check and fetch when a step is prepared.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "backend/kernel.h"
#include "backend/refused.h"
#include "cpu/isa.h"
#include "cpu/kernels/float_type.h"

namespace bertie::cpu {

// Reads a step's inputs as it is prepared; each throws Refused naming the input.
class Operands {
 public:
  explicit Operands(const KernelRequest& request) : network_(request.network), node_(request.node) {}

  bool has(size_t input) const { return node_.input(input) != kNone; }
  const Value& value(size_t input) const { return network_.value(node_.inputs[input]); }
  void require_f32(size_t input, std::string_view name) const;
  // Extent of the last axis.
  int64_t fixed_width(size_t input, std::string_view name) const;
  // The float type of an input that may stay as it is in its file.
  FloatType float_type(size_t input, std::string_view name) const;
  // A copy of a constant, widened.
  std::vector<float> constant(size_t input, std::string_view name) const;

 private:
  const Network& network_;
  const Node& node_;
};

// The kernels that an entry stands for.
inline const IsaKernels& kernels_of(const KernelRequest& request) {
  return *(request.variant.empty() ? active_isa() : isa_named(request.variant)).kernels;
}

std::optional<FloatType> float_type_of(DType dtype);
std::vector<float> widened(const Tensor& tensor);  // f32, f16 or bf16

// Rows of a tensor seen as [rows, last extent].
int64_t row_count(const Shape& shape);

// Calls body(begin, end, worker), or body(begin, end), for pieces of [0, rows), each of about `kPieceElements` elements of rows of `extent`.
template <typename Body>
void for_row_pieces(ThreadPool& pool, int64_t rows, int64_t extent, Body body) {
  constexpr int64_t kPieceElements = 8192;  // 32 KiB: long against the cost of handing it out, short enough to share evenly
  const int64_t piece = kPieceElements / (extent < 1 ? 1 : extent) + 1;
  pool.parallel_for((rows + piece - 1) / piece, [&](int64_t task, int worker) {
    const int64_t begin = task * piece, end = begin + piece < rows ? begin + piece : rows;
    if constexpr (std::is_invocable_v<Body, int64_t, int64_t, int>) {
      body(begin, end, worker);
    } else {
      body(begin, end);
    }
  });
}

}  // namespace bertie::cpu
