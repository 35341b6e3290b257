// Devices, memory, streams, graphs and events: CUDA's runtime, linked statically.
#include "cuda/library/runtime.h"

#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstring>

#include "cuda/kernels/probe.h"

namespace bertie::cuda {
namespace {

int32_t status_of(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();  // it is reported here, and must not be found again behind the next launch
  return static_cast<int32_t>(error);
}

// Runs body() with the device as the thread's, and leaves the thread's own device as it was.
template <typename Body>
int32_t on_device(int32_t device, Body body) {
  int before = 0;
  if (const cudaError_t error = cudaGetDevice(&before); error != cudaSuccess) return status_of(error);
  if (before == device) return status_of(body());
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess) return status_of(error);
  const int32_t status = status_of(body());
  cudaSetDevice(before);
  return status;
}

const char* error_text(int32_t status) {
  if (status >= kCublasStatus) return product_error_text(status);
  return cudaGetErrorString(static_cast<cudaError_t>(status));
}

int32_t versions(int32_t* driver, int32_t* toolkit) {
  *toolkit = CUDART_VERSION;
  return status_of(cudaDriverGetVersion(driver));
}

int32_t device_count(int32_t* count) { return status_of(cudaGetDeviceCount(count)); }

int32_t open_device(int32_t device, BertieCudaProperties* properties) {
  cudaDeviceProp own;
  if (const cudaError_t error = cudaGetDeviceProperties(&own, device); error != cudaSuccess) return status_of(error);
  std::snprintf(properties->name, sizeof(properties->name), "%s", own.name);
  properties->major = own.major;
  properties->minor = own.minor;
  properties->multiprocessors = own.multiProcessorCount;
  cudaDeviceGetAttribute(&properties->clock_khz, cudaDevAttrClockRate, device);
  cudaDeviceGetAttribute(&properties->memory_clock_khz, cudaDevAttrMemoryClockRate, device);
  properties->memory_bus_bits = own.memoryBusWidth;
  properties->memory_bytes = own.totalGlobalMem;
  properties->l2_bytes = static_cast<uint64_t>(own.l2CacheSize);
  properties->shared_bytes = own.sharedMemPerBlockOptin;
  return on_device(device, probe_kernels);
}

int32_t memory(int32_t device, size_t* free, size_t* total) {
  return on_device(device, [=] { return cudaMemGetInfo(free, total); });
}
int32_t allocate(int32_t device, size_t bytes, void** memory) {
  return on_device(device, [=] { return cudaMalloc(memory, bytes); });
}
void release(int32_t device, void* memory) {
  on_device(device, [=] { return cudaFree(memory); });
}
int32_t allocate_pinned(int32_t device, size_t bytes, void** memory) {
  return on_device(device, [=] { return cudaHostAlloc(memory, bytes, cudaHostAllocPortable); });
}
void release_pinned(void* memory) { cudaFreeHost(memory); }

int32_t make_stream(int32_t device, void** stream) {
  return on_device(device,
                   [=] { return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), cudaStreamNonBlocking); });
}
void release_stream(int32_t device, void* stream) {
  on_device(device, [=] { return cudaStreamDestroy(static_cast<cudaStream_t>(stream)); });
}

int32_t copy(void* to, const void* from, size_t bytes, int32_t device, void* stream) {
  if (const cudaError_t error = use_device(device); error != cudaSuccess) return status_of(error);
  return status_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)));
}
int32_t fill(void* to, int32_t byte, size_t bytes, int32_t device, void* stream) {
  if (const cudaError_t error = use_device(device); error != cudaSuccess) return status_of(error);
  return status_of(cudaMemsetAsync(to, byte, bytes, static_cast<cudaStream_t>(stream)));
}
int32_t synchronize(void* stream) { return status_of(cudaStreamSynchronize(static_cast<cudaStream_t>(stream))); }

int32_t begin_capture(int32_t device, void* stream) {
  if (const cudaError_t error = use_device(device); error != cudaSuccess) return status_of(error);
  return status_of(cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeRelaxed));
}
int32_t end_capture(void* stream, void** graph) {
  *graph = nullptr;
  cudaGraph_t recorded = nullptr;
  cudaError_t error = cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &recorded);
  if (error == cudaSuccess) error = cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(graph), recorded, 0);
  if (recorded) cudaGraphDestroy(recorded);
  return status_of(error);
}
int32_t launch_graph(void* graph, void* stream) {
  return status_of(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream)));
}
void release_graph(int32_t device, void* graph) {
  on_device(device, [=] { return cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); });
}

int32_t make_event(int32_t device, void** event) {
  return on_device(device, [=] { return cudaEventCreate(reinterpret_cast<cudaEvent_t*>(event)); });
}
void release_event(int32_t device, void* event) {
  on_device(device, [=] { return cudaEventDestroy(static_cast<cudaEvent_t>(event)); });
}
int32_t record_event(void* event, void* stream) {
  return status_of(cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream)));
}
int32_t elapsed(void* from, void* to, float* milliseconds) {
  return status_of(cudaEventElapsedTime(milliseconds, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to)));
}

void push_range(const char* name) { nvtxRangePushA(name); }
void pop_range() { nvtxRangePop(); }

}  // namespace

cudaError_t use_device(int32_t device) {
  int current = 0;
  if (const cudaError_t error = cudaGetDevice(&current); error != cudaSuccess) return error;
  return current == device ? cudaSuccess : cudaSetDevice(device);
}

void fill_runtime(BertieCudaApi& api) {
  api.error_text = error_text;
  api.versions = versions;
  api.device_count = device_count;
  api.open_device = open_device;
  api.memory = memory;
  api.allocate = allocate;
  api.release = release;
  api.allocate_pinned = allocate_pinned;
  api.release_pinned = release_pinned;
  api.make_stream = make_stream;
  api.release_stream = release_stream;
  api.copy = copy;
  api.fill = fill;
  api.synchronize = synchronize;
  api.begin_capture = begin_capture;
  api.end_capture = end_capture;
  api.launch_graph = launch_graph;
  api.release_graph = release_graph;
  api.make_event = make_event;
  api.release_event = release_event;
  api.record_event = record_event;
  api.elapsed = elapsed;
  api.push_range = push_range;
  api.pop_range = pop_range;
}

}  // namespace bertie::cuda
