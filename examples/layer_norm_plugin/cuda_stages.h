// The three stages on a GPU. Each launches into the queue and waits for nothing; what CUDA says against it is thrown as std::runtime_error.
#pragma once

#include <cstdint>

#include "stages.h"

namespace layer_norm::cuda {

struct Queue {
  int device;
  void* stream;  // cudaStream_t
};

// Rows (stages.h) whose memory is the device's. `count` of them, of floats; `statistics`: 2 * count floats.
void normalise_in_several_kernels(const Rows& rows, int64_t count, float* statistics, const Queue& queue);
// In one kernel, a block a row: floats.
void normalise_in_one_kernel(const Rows& rows, int64_t count, const Queue& queue);
// A warp a row, which it keeps in registers: floats or halves, sums in float. Wider rows than registers hold: a block a row.
void normalise_in_registers(const Rows& rows, int64_t count, const Queue& queue);

}  // namespace layer_norm::cuda
