// Rows of weights as floats, whatever they lie as.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/float_element.h"
#include "base/parallel_parts.h"

namespace bertie {

class WeightRows {
 public:
  // body(row, floats [K]) of rows [N, K], row-major, on all threads; the floats are a copy where they are to be changed.
  template <typename Body>
  void for_each(const Tensor& rows, bool changed, Body body) {
    if (!pool_) pool_.emplace(0);
    constexpr size_t kRowsAtOnce = 32;
    const int64_t k = rows.shape[1];
    const TensorView view = rows.view();
    const bool copied = changed || view.dtype != DType::f32;
    parallel_parts(*pool_, static_cast<size_t>(rows.shape[0]), kRowsAtOnce, [&](size_t begin, size_t end) {
      std::vector<float> copy(copied ? static_cast<size_t>(k) : 0);
      for (auto r = static_cast<int64_t>(begin); r < static_cast<int64_t>(end); ++r) {
        for (size_t i = 0; i < copy.size(); ++i) copy[i] = float_element(view, static_cast<size_t>(r * k) + i);
        // Not written to where it is no copy.
        float* row = copied ? copy.data() : const_cast<float*>(view.as<float>()) + r * k;
        body(r, std::span<float>(row, static_cast<size_t>(k)));
      }
    });
  }

 private:
  std::optional<ThreadPool> pool_;
};

}  // namespace bertie
