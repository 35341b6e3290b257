// Over some axes, or all. Floats are summed in double in the order in which they lie; integers wrap. Over nothing: sums are 0, products 1,
// the largest is the smallest number there is, the mean NaN.
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

enum class Function { mean, sum, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp };

Function function_named(const std::string& name) {
  constexpr std::string_view kNames[] = {"mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) return static_cast<Function>(i);
  }
  fail(ErrorCode::unsupported, "reference: no reduce function '{}'", name);
}

// elements(visit) calls visit(x) for each of `count` elements.
template <typename T, typename Elements>
T smallest(Elements elements, T none) {
  T result = none;
  elements([&](T x) { result = x != x || x < result ? x : result; });
  return result;
}
template <typename T, typename Elements>
T largest(Elements elements, T none) {
  T result = none;
  elements([&](T x) { result = x != x || x > result ? x : result; });
  return result;
}

template <typename Elements>
double reduce_floats(Function function, Elements elements, int64_t count) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto sum_of = [&](auto term) {
    double sum = 0;
    elements([&](double x) { sum += term(x); });
    return sum;
  };
  const auto plain = [](double x) { return x; };
  const auto square = [](double x) { return x * x; };
  switch (function) {
    case Function::mean: return sum_of(plain) / static_cast<double>(count);
    case Function::sum: return sum_of(plain);
    case Function::max: return largest<double>(elements, -kInfinity);
    case Function::min: return smallest<double>(elements, kInfinity);
    case Function::prod: {
      double product = 1;
      elements([&](double x) { product *= x; });
      return product;
    }
    case Function::l1: return sum_of([](double x) { return std::fabs(x); });
    case Function::l2: return std::sqrt(sum_of(square));
    case Function::sum_square: return sum_of(square);
    case Function::log_sum: return std::log(sum_of(plain));
    case Function::log_sum_exp: {
      const double top = largest<double>(elements, -kInfinity);
      if (!std::isfinite(top)) return top;
      return top + std::log(sum_of([top](double x) { return std::exp(x - top); }));
    }
  }
  return 0;
}

// What needs more than integers is computed in double and truncated.
template <typename T, typename Elements>
T reduce_integers(Function function, Elements elements, int64_t count) {
  const auto sum_of = [&](auto term) {
    uint64_t sum = 0;
    elements([&](T x) { sum += term(static_cast<uint64_t>(x)); });
    return sum;
  };
  const auto plain = [](uint64_t x) { return x; };
  switch (function) {
    case Function::mean: return count == 0 ? T{0} : static_cast<T>(static_cast<int64_t>(sum_of(plain)) / count);
    case Function::sum: return static_cast<T>(sum_of(plain));
    case Function::max: return largest<T>(elements, std::numeric_limits<T>::lowest());
    case Function::min: return smallest<T>(elements, std::numeric_limits<T>::max());
    case Function::prod: {
      uint64_t product = 1;
      elements([&](T x) { product *= static_cast<uint64_t>(x); });
      return static_cast<T>(product);
    }
    case Function::l1:
      return static_cast<T>(sum_of([](uint64_t x) { return static_cast<int64_t>(x) < 0 ? uint64_t{0} - x : x; }));
    case Function::sum_square: return static_cast<T>(sum_of([](uint64_t x) { return x * x; }));
    case Function::l2:
    case Function::log_sum:
    case Function::log_sum_exp:
      return to_integer<T>(reduce_floats(
          function, [&](auto visit) { elements([&](T x) { visit(static_cast<double>(x)); }); }, count));
  }
  return 0;
}

// Which axes of x go. `axes` may be left out.
std::array<bool, Shape::kMaxRank> reduced_axes(const Shape& x, const TensorView& axes, bool none_means_none) {
  std::array<bool, Shape::kMaxRank> reduced{};
  const int64_t count = axes.data ? axes.shape.elements() : 0;
  for (int64_t i = 0; i < count; ++i) reduced[static_cast<size_t>(axis_of(integer(axes, i), x.rank()))] = true;
  if (count == 0 && !none_means_none) reduced.fill(true);
  return reduced;
}

// Axes of x where `reduced` is `which`, with their strides.
Shape some_axes(const Shape& x, const std::array<bool, Shape::kMaxRank>& reduced, bool which, Strides& strides) {
  const Strides own = row_major_strides(x);
  std::array<int64_t, Shape::kMaxRank> extents{};
  size_t rank = 0;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (reduced[static_cast<size_t>(axis)] != which) continue;
    strides[rank] = own[static_cast<size_t>(axis)];
    extents[rank++] = x[axis];
  }
  return Shape(std::span<const int64_t>(extents.data(), rank));
}

void reduce(const KernelContext& context, Function function, bool none_means_none) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& out = context.outputs[0];
  const auto reduced = reduced_axes(x.shape, input(context, 1), none_means_none);
  Strides kept_strides{}, inner_strides{};
  const Shape kept = some_axes(x.shape, reduced, false, kept_strides);
  const Shape inner = some_axes(x.shape, reduced, true, inner_strides);
  const auto for_each_result = [&](auto result) {
    walk(kept, kept_strides, [&](int64_t i, int64_t from) {
      result(i, [&, from](auto visit) { walk(inner, inner_strides, [&](int64_t, int64_t at) { visit(from + at); }); });
    });
  };
  if (is_float(x.dtype)) {
    with_floats(x, [&](auto* data) {
      for_each_result([&](int64_t i, auto places) {
        const auto elements = [&](auto visit) { places([&](int64_t at) { visit(static_cast<double>(widen(data[at]))); }); };
        out.as<float>()[i] = static_cast<float>(reduce_floats(function, elements, inner.elements()));
      });
    });
    return;
  }
  with_integer_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_result([&](int64_t i, auto places) {
      const auto elements = [&](auto visit) { places([&](int64_t at) { visit(x.as<T>()[at]); }); };
      out.as<T>()[i] = reduce_integers<T>(function, elements, inner.elements());
    });
  });
}

}  // namespace

PrepareResult prepare_reduce(const KernelRequest& request) {
  const Function function = function_named(request.node.text("function"));
  const bool none_means_none = request.node.integer("noop_with_empty_axes") != 0;
  return take([=](const KernelContext& context) { reduce(context, function, none_means_none); });
}

}  // namespace bertie::reference
