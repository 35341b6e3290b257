// Products of floats as the cpu backend's kernels sum them, whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/panels.h"
#include "base/thread_pool.h"
#include "base/unfilled.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"

namespace bertie::calibration {

class FloatProduct {
 public:
  explicit FloatProduct(ThreadPool& pool)
      : pool_(pool), size_(cpu::gemm_scratch_bytes(*cpu::active_isa().kernels, {}, pool.threads())), scratch_(size_ + 64) {}

  // a [M, K] by the transpose of b [N, K]: [M, N].
  Unfilled<float> operator()(std::span<const float> a, std::span<const float> b, size_t depth) {
    const auto n = static_cast<int64_t>(b.size() / depth), k = static_cast<int64_t>(depth);
    const size_t rows = a.size() / depth;
    Unfilled<float> result(rows * (b.size() / depth));
    cpu::GemmProblem problem = {};
    problem.a = a.data();
    problem.a_stride = k;
    problem.weight = {b.data(), cpu::FloatType::f32, n, k};
    problem.c = result.data();
    problem.c_stride = n;
    void* begin = scratch_.data();  // as kernels want it
    size_t space = scratch_.size();
    std::span<std::byte> aligned(static_cast<std::byte*>(std::align(64, size_, begin, space)), size_);
    cpu::run_gemm(*cpu::active_isa().kernels, problem, static_cast<int64_t>(rows), pool_, aligned);
    return result;
  }

 private:
  ThreadPool& pool_;
  size_t size_;
  std::vector<std::byte> scratch_;
};

}  // namespace bertie::calibration
