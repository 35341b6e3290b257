// What libbertie_cuda.so offers, as C: the one thing that crosses the border between the program and the library. The library knows
// devices, memory, streams, graphs, matrix products and launches; which of them a network needs is the program's business.
//
// Every function returns 0 or a status that `error_text` explains. A stream, graph, event or product is the library's own object.
// Functions may be called from any thread; one stream from one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Raised with every change of what stands here. Launchers' params are told apart by their size.
#define BERTIE_CUDA_ABI 3
#define BERTIE_CUDA_ENTRY "bertie_cuda_api"

// Statuses that the program tells apart; any other is just an error. They are CUDA's own numbers.
enum {
  BERTIE_CUDA_OK = 0,
  BERTIE_CUDA_OUT_OF_MEMORY = 2,
  BERTIE_CUDA_DRIVER_TOO_OLD = 35,
  BERTIE_CUDA_NO_DEVICE = 100,
  BERTIE_CUDA_NO_KERNEL_IMAGE = 209,
};

typedef struct BertieCudaProperties {
  char name[256];
  int32_t major, minor;  // compute capability
  int32_t multiprocessors;
  int32_t clock_khz, memory_clock_khz, memory_bus_bits;
  uint64_t memory_bytes, l2_bytes;
  uint64_t shared_bytes;  // that one block may have
} BertieCudaProperties;

// A kernel family (kernels/x.h): `params` is its struct.
typedef struct BertieCudaLauncher {
  const char* name;
  size_t params_bytes;
  int32_t (*launch)(const void* params, int32_t device, void* stream);
} BertieCudaLauncher;

enum { BERTIE_CUDA_F32 = 0, BERTIE_CUDA_F16 = 1, BERTIE_CUDA_BF16 = 2 };  // as enum Element
// Of a and b alone, and there is neither bias nor addend.
enum {
  BERTIE_CUDA_I8 = 3,    // the result is 32-bit integers
  BERTIE_CUDA_E4M3 = 4,  // codes: b is transposed, n and k are multiples of 16, the result is F32
};

// Row-major d [m, n] = a [m, k] times b + bias + addend, `batch` of them; sums are float32, of I8 exact.
typedef struct BertieCudaProduct {
  int32_t element;     // of a and b
  int32_t result;      // of d, bias and addend; not looked at for I8
  int32_t tf32;        // f32 operands rounded to tf32
  int32_t transposed;  // b is [n, k] (a weight); 0: [k, n]
  int32_t has_bias;    // [n], added to every row
  int32_t has_addend;  // [m, n]
  int32_t batch;       // matrices, each a stride behind the one before
  int64_t m, n, k;
  int64_t a_stride, b_stride, d_stride;  // elements; used where batch > 1
} BertieCudaProduct;

typedef struct BertieCudaOperands {
  const void *a, *b, *bias, *addend;
  void* d;
  void* workspace;
  size_t workspace_bytes;
  int32_t algorithm;  // which of the candidates; 0: what the library's heuristics prefer
} BertieCudaOperands;

typedef struct BertieCudaApi {
  uint32_t abi;  // BERTIE_CUDA_ABI; the first field under every number
  uint32_t size;
  const char* version;        // of bertie
  const char* architectures;  // that kernels were compiled for: "80 90a"

  const char* (*error_text)(int32_t status);
  // CUDA's own numbers: 13000 is 13.0. `driver` is the newest toolkit that the driver knows; 0: there is no driver.
  int32_t (*versions)(int32_t* driver, int32_t* toolkit);
  int32_t (*device_count)(int32_t* count);
  // Also finds out whether a kernel of this library runs on the device.
  int32_t (*open_device)(int32_t device, BertieCudaProperties* properties);

  int32_t (*memory)(int32_t device, size_t* free, size_t* total);
  int32_t (*allocate)(int32_t device, size_t bytes, void** memory);
  void (*release)(int32_t device, void* memory);
  int32_t (*allocate_pinned)(int32_t device, size_t bytes, void** memory);
  void (*release_pinned)(void* memory);

  int32_t (*make_stream)(int32_t device, void** stream);  // the CUDA stream itself
  void (*release_stream)(int32_t device, void* stream);
  // `device` is the stream's, and stays the calling thread's own.
  int32_t (*copy)(void* to, const void* from, size_t bytes, int32_t device, void* stream);  // either may be in a device's memory
  int32_t (*fill)(void* to, int32_t byte, size_t bytes, int32_t device, void* stream);
  int32_t (*synchronize)(void* stream);

  int32_t (*begin_capture)(int32_t device, void* stream);
  int32_t (*end_capture)(void* stream, void** graph);  // *graph is NULL where it failed
  int32_t (*launch_graph)(void* graph, void* stream);
  void (*release_graph)(int32_t device, void* graph);

  int32_t (*make_event)(int32_t device, void** event);
  void (*release_event)(int32_t device, void* event);
  int32_t (*record_event)(void* event, void* stream);
  int32_t (*elapsed)(void* from, void* to, float* milliseconds);  // both have happened

  void (*push_range)(const char* name);  // NVTX, for profilers
  void (*pop_range)(void);               // NOLINT(modernize-redundant-void-arg): C too

  // How many algorithms there are for a product within this much workspace, at most `most`.
  int32_t (*product_candidates)(int32_t device, const BertieCudaProduct* product, size_t workspace_bytes, int32_t most,
                                int32_t* count);
  int32_t (*run_product)(int32_t device, const BertieCudaProduct* product, const BertieCudaOperands* operands, void* stream);

  const BertieCudaLauncher* launchers;
  int32_t launcher_count;
} BertieCudaApi;

// The library exports   const BertieCudaApi* bertie_cuda_api(void)
typedef const BertieCudaApi* (*BertieCudaEntry)(void);  // NOLINT(modernize-redundant-void-arg)
