// The case lists that every backend is held to: op, shapes, dtypes and the error allowed against the reference.
#pragma once

#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/support/op_runner.h"

namespace bertie::test {

struct ConformanceCase {
  std::string name;
  OpCase op;
  // Largest absolute error of an element: a few float32 epsilons, times the square root of the number of terms summed, times the size
  // of what is summed.
  double element_bound = 0;
  // Largest relative error of the whole (Frobenius norm).
  double whole_bound = 2e-6;
};

// Of a case by its name: different values for each, the same ones in every run.
std::mt19937 generator(const std::string& name);
double sum_bound(int64_t terms, double magnitude);  // element_bound, of sums of so many terms
int64_t total_of(const std::vector<int64_t>& lengths);
std::vector<int64_t> random_ids(std::mt19937& random, int64_t count, int64_t limit);  // 0 to limit - 1

// Attention over packed sequences; the reference bound is for standard normal q, k and v.
struct AttentionShape {
  int64_t heads = 2, head_dim = 64;
  std::vector<int64_t> lengths;
  bool packed_qkv = true, relative_bias = false, holes = false;  // holes: columns that skip places
  std::vector<int64_t> query_rows = {};
  std::vector<int32_t> queries_only = {};
  std::string name() const;
};
ConformanceCase attention_case(const AttentionShape& shape);

std::vector<ConformanceCase> attention_cases();
std::vector<ConformanceCase> padded_attention_cases();
// Padded attention with a bias that is NaN for one query and key: that query's row is NaN, and no other.
struct NanBiasCase {
  NanBiasCase();
  void check(const OpResult& result, std::string_view name) const;
  OpCase op;
};
std::vector<ConformanceCase> row_op_cases();      // layer norms, embeddings, gather, pool, normalize
std::vector<ConformanceCase> element_op_cases();  // unary, gelu, elementwise
std::vector<ConformanceCase> linear_cases();
std::vector<ConformanceCase> linear_skip_layer_norm_cases(bool eight_bits);  // x and weight, of integers and of e4m3; else floats
// Of so many rows that on Hopper they are one kernel's; for other backends too many.
std::vector<ConformanceCase> large_linear_skip_layer_norm_cases(bool eight_bits);
std::vector<ConformanceCase> matmul_cases();  // of two operands that the run makes
std::vector<ConformanceCase>
padded_op_cases();  // softmax, reduce, transpose, broadcasting elementwise: what padded networks run unfused
std::vector<ConformanceCase> copied_op_cases();  // slice, concat, expand, gather, where, reshape, cast; every function of reduce
std::vector<ConformanceCase> top_k_cases();      // top_k_log_sum_exp

// Rows [begin, begin + rows) of a [., width] tensor of floats.
Tensor slice_rows(const Tensor& tensor, int64_t begin, int64_t rows);

void expect_same_bits(const std::string& what, std::span<const float> a, std::span<const float> b);

}  // namespace bertie::test
