// ONNX Slice: starts, ends, axes and steps are integer vectors, usually known before the run.
#include "network/slice.h"

#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

enum Input : size_t { kX, kStarts, kEnds, kAxes, kSteps };

// The extent of x[start:end:step] where some of them are symbols; nullopt where only the run can tell. A symbolic end is taken to lie
// within the axis.
std::optional<Dim> symbolic_extent(const Dim& start, const Dim& end, int64_t step, const Dim& extent) {
  if (step != 1 || !start.is_fixed()) return std::nullopt;
  if (start.size < 0) {  // the last -start elements
    const bool to_end = end.is_fixed() && end.size >= INT32_MAX;
    return to_end ? std::optional(Dim(0) - start) : std::nullopt;
  }
  if (!end.is_fixed()) return end - start;
  if (end.size >= INT32_MAX) return extent - start;
  if (end.size < 0) return extent + (end - start);
  if (start.size == 0 && end.size == 1) return Dim(1);
  return std::nullopt;
}

std::vector<int64_t> axes_of(const OpContext& context, size_t count) {
  std::vector<int64_t> axes;
  if (!context.has(kAxes)) {
    for (size_t i = 0; i < count; ++i) axes.push_back(static_cast<int64_t>(i));
    return axes;
  }
  const auto known = context.integers(kAxes);
  if (!known) context.reject("axes known before the run");
  return *known;
}

void infer_slice(OpContext& context) {
  for (size_t input : {kStarts, kEnds, kAxes, kSteps}) {
    if (context.has(input)) {
      context.require_index(input);
      context.require_rank(input, 1);
    }
  }
  const SymbolicShape& x = context.shape(kX);
  const Dim& length = context.shape(kStarts)[0];
  context.require(length.is_fixed(), "as many starts as are known before the run");
  const size_t count = static_cast<size_t>(length.size);
  const auto starts = context.elements(kStarts);
  const auto ends = context.elements(kEnds);
  const std::vector<int64_t> axes = axes_of(context, count);
  const auto steps = context.has(kSteps) ? context.integers(kSteps) : std::vector<int64_t>(count, 1);
  context.require(axes.size() == count && (!ends || ends->size() == count) && (!steps || steps->size() == count),
                  "starts, ends, axes and steps of one length");
  SymbolicShape shape = x;
  std::optional<SymbolicShape> elements = x.size() == 1 ? context.elements(kX) : std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    const size_t axis = context.axis(axes[i], x.size());
    if (!starts || !ends || !steps) {
      shape[axis] = unknown_dim(context.node().name, axis);
      elements.reset();
      continue;
    }
    const Dim& start = (*starts)[i];
    const Dim& end = (*ends)[i];
    const int64_t step = (*steps)[i];
    context.require(step != 0, "steps other than 0");
    if (start.is_fixed() && end.is_fixed() && x[axis].is_fixed()) {
      const SliceRange range = slice_range(start.size, end.size, step, x[axis].size);
      shape[axis] = Dim(range.count);
      if (elements) {
        SymbolicShape kept;
        for (int64_t k = 0; k < range.count; ++k) kept.push_back((*elements)[static_cast<size_t>(range.start + k * range.step)]);
        elements = std::move(kept);
      }
      continue;
    }
    elements.reset();
    shape[axis] = symbolic_extent(start, end, step, x[axis]).value_or(unknown_dim(context.node().name, axis));
  }
  context.output(context.dtype(kX), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& slice_op() {
  static const OpDescriptor op{"slice", 3, {"x", "starts", "ends", "axes", "steps"}, {}, infer_slice};
  return op;
}

ValueId Network::add_slice(ValueId x, int64_t axis, int64_t start, int64_t end, std::string name) {
  const auto one = [&](int64_t number) { return add_integers(std::span<const int64_t>(&number, 1)); };
  return add_node("slice", {x, one(start), one(end), one(axis)}, {}, std::move(name))[0];
}

}  // namespace bertie
