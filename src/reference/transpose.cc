// A copy in which neighbours come to lie apart, in tiles: two axes lie dense, one in x and one in the result.
#include <algorithm>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

// Copies the plane of two axes of extents rows x columns: element (r, c) is at r + c * from of x, at r * to + c of the result.
template <typename Copy>
void copy_plane(Copy copy, int64_t rows, int64_t columns, int64_t from, int64_t to, int64_t source, int64_t target) {
  constexpr int64_t kTile = 32;
  for (int64_t row = 0; row < rows; row += kTile) {
    for (int64_t column = 0; column < columns; column += kTile) {
      for (int64_t r = row; r < std::min(rows, row + kTile); ++r) {
        for (int64_t c = column; c < std::min(columns, column + kTile); ++c) copy(target + r * to + c, source + r + c * from);
      }
    }
  }
}

}  // namespace

PrepareResult prepare_transpose(const KernelRequest& request) {
  return take([permutation = request.node.integers("permutation")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    const Strides own = row_major_strides(x.shape);
    const int rank = x.shape.rank();
    Strides from{};
    int dense = rank - 1;  // the axis of the result along which x lies dense
    for (int axis = 0; axis < rank; ++axis) {
      const int64_t source = permutation.empty() ? rank - 1 - axis : permutation[static_cast<size_t>(axis)];
      from[static_cast<size_t>(axis)] = own[static_cast<size_t>(source)];
      if (source == rank - 1) dense = axis;
    }
    with_copy(x, out, [&](auto copy) {
      if (dense == rank - 1 || out.shape.elements() == 0) {
        walk(out.shape, from, [&](int64_t i, int64_t at) { copy(i, at); });
        return;
      }
      // Every place of the other axes, and a plane at each.
      Shape others = out.shape;
      others[dense] = others[rank - 1] = 1;
      const Strides to = row_major_strides(out.shape);
      walk(others, std::array{from, to}, [&](int64_t, const std::array<int64_t, 2>& at) {
        copy_plane(copy, out.shape[dense], out.shape[rank - 1], from[static_cast<size_t>(rank - 1)],
                   to[static_cast<size_t>(dense)], at[0], at[1]);
      });
    });
  });
}

}  // namespace bertie::reference
