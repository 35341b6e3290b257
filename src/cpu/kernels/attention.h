// Softmax(scale * q k^T + relative_bias or bias) v of one head over the rows of one sequence, float32.
//
// The order of every sum, whatever the batch, the split into tasks, the tile or the number of threads: a score takes one fma a
// dimension, ascending, from zero. Keys are taken in blocks of kAttentionKeyBlock from the sequence's first; the weights of a block
// are 2^(score - largest so far); a block's weighted values take one fma a key, ascending, onto the sum before it, which is first
// multiplied by 2^(largest before - largest so far). A row's total is kept as sixteen lanes (key mod 16) and added up at the end.
#pragma once

#include <cstdint>

namespace bertie::cpu {

constexpr int64_t kAttentionKeyBlock = 128;
constexpr int64_t kAttentionQueryBlock = 512;
constexpr int64_t kAttentionMaxHeadDim = 256;

struct AttentionProblem {
  const float *q, *k, *v;  // head h of row r: head_dim floats at x + r * row_stride + h * head_dim
  int64_t row_stride;
  int64_t heads, head_dim;
  float scale;                 // times log2(e): weights are powers of two
  const float* relative_bias;  // [heads, bias_entries], the middle entry for a token and itself; or nullptr
  int64_t bias_entries;
  // Of padded rows, `sequence` of them each: element (sequence, head, query, key), keys side by side; or nullptr. What is below least_bias
  // counts as it.
  const float* bias;
  int64_t sequence, bias_sequence_stride, bias_head_stride, bias_query_stride;
  float least_bias;
  const int32_t* columns;     // place of each row in its sequence; nullptr: its distance from the sequence's first key
  const int32_t* query_rows;  // row of each query; nullptr: query i is row i
  const int32_t* key_rows;    // row of each key; nullptr: key i is row i
  float* out;                 // [queries, heads * head_dim], from
  int64_t first_out_query;    // this one on
};

// At most kAttentionQueryBlock queries, and all keys that they attend to: none gives zeros.
struct AttentionItem {
  int32_t query_begin, query_count;
  int32_t key_begin, key_count;
};

struct AttentionHead {
  const AttentionItem* item;
  int64_t head;
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {

// `next`: what this thread will probably be given next, fetched ahead; its item may be nullptr.
// `scratch`: attention_scratch_floats(head_dim) floats of this thread, 64-byte aligned.
void attention(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch);
int64_t attention_scratch_floats(int64_t head_dim);

}  // namespace bertie::cpu::BERTIE_ISA
#endif
