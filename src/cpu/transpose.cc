// f32 axes in another order: whole rows where the last axis stays the last (heads to the front and back), tiles where it does not.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class Transpose final : public Kernel {
 public:
  explicit Transpose(std::vector<int64_t> permutation) : permutation_(std::move(permutation)) {
    const auto last = std::find(permutation_.begin(), permutation_.end(), static_cast<int64_t>(permutation_.size()) - 1);
    dense_ = static_cast<int>(last - permutation_.begin());
  }

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    if (out.shape.elements() == 0) return;
    const int rank = out.shape.rank();
    std::array<int64_t, Shape::kMaxRank> own{}, from{}, to{};
    for (int axis = rank - 1; axis >= 0; --axis) {
      const size_t at = static_cast<size_t>(axis);
      own[at] = axis == rank - 1 ? 1 : own[at + 1] * x.shape[axis + 1];
      to[at] = axis == rank - 1 ? 1 : to[at + 1] * out.shape[axis + 1];
    }
    for (size_t axis = 0; axis < static_cast<size_t>(rank); ++axis) from[axis] = own[static_cast<size_t>(permutation_[axis])];
    const float* in = x.as<float>();
    float* result = out.as<float>();
    const int64_t columns = out.shape.back();
    if (dense_ == rank - 1) {
      for_row_pieces(context.pool, row_count(out.shape), columns, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          int64_t source = 0, rest = row;
          for (int axis = rank - 2; axis >= 0; --axis) {
            source += rest % out.shape[axis] * from[static_cast<size_t>(axis)];
            rest /= out.shape[axis];
          }
          std::memcpy(result + row * columns, in + source, static_cast<size_t>(columns) * sizeof(float));
        }
      });
      return;
    }
    // Planes of the two axes along which x and the result lie dense, cut into strips of rows of x's dense axis.
    constexpr int64_t kStrip = 32;
    const int64_t rows = out.shape[dense_], strips = (rows + kStrip - 1) / kStrip;
    const int64_t planes = out.shape.elements() / (rows * columns);
    context.pool.parallel_for(planes * strips, [&](int64_t task, int) {
      int64_t source = 0, target = 0, rest = task / strips;
      for (int axis = rank - 2; axis >= 0; --axis) {
        if (axis == dense_) continue;
        const int64_t place = rest % out.shape[axis];
        source += place * from[static_cast<size_t>(axis)];
        target += place * to[static_cast<size_t>(axis)];
        rest /= out.shape[axis];
      }
      const int64_t row_begin = task % strips * kStrip, row_end = std::min(rows, row_begin + kStrip);
      const int64_t step = from[static_cast<size_t>(rank - 1)], row_step = to[static_cast<size_t>(dense_)];
      for (int64_t column = 0; column < columns; column += kStrip) {
        for (int64_t row = row_begin; row < row_end; ++row) {
          for (int64_t c = column; c < std::min(columns, column + kStrip); ++c)
            result[target + row * row_step + c] = in[source + row + c * step];
        }
      }
    });
  }

 private:
  std::vector<int64_t> permutation_;
  int dense_;  // the axis of the result along which x lies dense
};

}  // namespace

PrepareResult prepare_transpose(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "x");
    const size_t rank = operands.value(0).shape.size();
    if (rank < 2) throw Refused{"a vector"};
    std::vector<int64_t> permutation = request.node.integers("permutation");
    if (permutation.empty()) {
      permutation.resize(rank);
      std::iota(permutation.rbegin(), permutation.rend(), 0);
    }
    const bool rows = permutation.back() == static_cast<int64_t>(rank) - 1;
    return Preparation{std::make_unique<Transpose>(std::move(permutation)), rows ? "whole rows copied" : "in tiles of 32 by 32"};
  });
}

}  // namespace bertie::cpu
