// The one symbol that libbertie_cuda.so exports.
#include "cuda/library/runtime.h"

extern "C" __attribute__((visibility("default"))) const BertieCudaApi* bertie_cuda_api(void) {
  static const BertieCudaApi api = [] {
    BertieCudaApi own{};
    own.abi = BERTIE_CUDA_ABI;
    own.size = sizeof(BertieCudaApi);
    own.version = BERTIE_VERSION;
    own.architectures = BERTIE_CUDA_ARCHITECTURES;
    bertie::cuda::fill_runtime(own);
    bertie::cuda::fill_products(own);
    bertie::cuda::fill_launchers(own);
    return own;
  }();
  return &api;
}
