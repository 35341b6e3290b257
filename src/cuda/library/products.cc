// Matrix products by cuBLASLt, the one library that is linked dynamically.
//
// cuBLASLt is column-major: a row-major d = a b is asked for as d^T = b^T a^T, so that its "A" is our b and its "B" our a.
#include <cublasLt.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "cuda/library/runtime.h"

namespace bertie::cuda {
namespace {

struct Status {
  cublasStatus_t code;
};

// Throws Status: caught at the border.
void check(cublasStatus_t code) {
  if (code != CUBLAS_STATUS_SUCCESS) throw Status{code};
}

template <typename Body>
int32_t guarded(Body body) {
  try {
    body();
    return BERTIE_CUDA_OK;
  } catch (const Status& status) {
    return kCublasStatus + static_cast<int32_t>(status.code);
  } catch (...) {
    return kCublasStatus + static_cast<int32_t>(CUBLAS_STATUS_ALLOC_FAILED);
  }
}

cudaDataType type_of(int32_t element) {
  switch (element) {
    case BERTIE_CUDA_F16: return CUDA_R_16F;
    case BERTIE_CUDA_BF16: return CUDA_R_16BF;
    case BERTIE_CUDA_I8: return CUDA_R_8I;
    case BERTIE_CUDA_E4M3: return CUDA_R_8F_E4M3;
    default: return CUDA_R_32F;
  }
}

// Owns a handle of cuBLASLt's.
template <typename T, auto kDestroy>
struct Owner {
  Owner() = default;
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() {
    if (handle) kDestroy(handle);
  }
  T handle = nullptr;
};
using Operation = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Matrix = Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

struct Description {
  Operation operation;
  Matrix b, a, d;
};

void make_matrix(Matrix& matrix, cudaDataType type, int64_t rows, int64_t columns, int64_t leading, int32_t batch,
                 int64_t stride) {
  check(cublasLtMatrixLayoutCreate(&matrix.handle, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), leading));
  if (batch <= 1) return;
  check(cublasLtMatrixLayoutSetAttribute(matrix.handle, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof(batch)));
  check(cublasLtMatrixLayoutSetAttribute(matrix.handle, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof(stride)));
}

template <typename T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(operation.handle, attribute, &value, sizeof(value)));
}

void describe(const BertieCudaProduct& product, Description& description) {
  const bool integers = product.element == BERTIE_CUDA_I8;
  const cudaDataType element = type_of(product.element), result = integers ? CUDA_R_32I : type_of(product.result);
  const cublasComputeType_t compute = integers       ? CUBLAS_COMPUTE_32I
                                      : product.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                     : CUBLAS_COMPUTE_32F;
  check(cublasLtMatmulDescCreate(&description.operation.handle, compute, integers ? CUDA_R_32I : CUDA_R_32F));
  set(description.operation, CUBLASLT_MATMUL_DESC_TRANSA, product.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  // Fast sums stay on matrix units, which keep fewer bits than float32; scales of operands are left out: one.
  if (product.element == BERTIE_CUDA_E4M3) set(description.operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{0});
  if (product.has_bias) {
    set(description.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(description.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, result);
  }
  const int64_t b_rows = product.transposed ? product.k : product.n, b_columns = product.transposed ? product.n : product.k;
  make_matrix(description.b, element, b_rows, b_columns, b_rows, product.batch, product.b_stride);
  make_matrix(description.a, element, product.k, product.m, product.k, product.batch, product.a_stride);
  make_matrix(description.d, result, product.n, product.m, product.n, product.batch, product.d_stride);
}

// What algorithms depend on.
using Key = std::tuple<int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int64_t, int64_t, int64_t, int64_t,
                       int64_t, int64_t, size_t>;
Key key_of(int32_t device, const BertieCudaProduct& p, size_t workspace) {
  return {device, p.element, p.result, p.tf32,     p.transposed, p.has_bias, p.has_addend, p.batch,
          p.m,    p.n,       p.k,      p.a_stride, p.b_stride,   p.d_stride, workspace};
}

constexpr int kMostAlgorithms = 16;
struct Algorithms {
  std::array<cublasLtMatmulHeuristicResult_t, kMostAlgorithms> results;
  int count = 0;
};

// Handles and algorithms, made when they are first wanted and kept: a few hundred bytes a kind of product.
class Products {
 public:
  cublasLtHandle_t handle(int32_t device) {
    const std::lock_guard lock(mutex_);
    cublasLtHandle_t& own = handles_[device];
    if (!own) check(cublasLtCreate(&own));
    return own;
  }

  const Algorithms& algorithms(int32_t device, const BertieCudaProduct& product, const Description& description,
                               size_t workspace) {
    const cublasLtHandle_t own = handle(device);
    const std::lock_guard lock(mutex_);
    const auto [found, fresh] = algorithms_.try_emplace(key_of(device, product, workspace));
    if (!fresh) return *found->second;
    auto made = std::make_unique<Algorithms>();
    Preference preference;
    check(cublasLtMatmulPreferenceCreate(&preference.handle));
    // Partial sums of split products stay in float32.
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    check(cublasLtMatmulPreferenceSetAttribute(preference.handle, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                               sizeof(workspace)));
    check(cublasLtMatmulPreferenceSetAttribute(preference.handle, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                               sizeof(reductions)));
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        own, description.operation.handle, description.b.handle, description.a.handle, description.d.handle, description.d.handle,
        preference.handle, kMostAlgorithms, made->results.data(), &made->count);
    if (status != CUBLAS_STATUS_SUCCESS || made->count == 0) {
      algorithms_.erase(found);
      throw Status{status == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : status};
    }
    found->second = std::move(made);
    return *found->second;
  }

 private:
  std::mutex mutex_;
  std::map<int32_t, cublasLtHandle_t> handles_;
  std::map<Key, std::unique_ptr<const Algorithms>> algorithms_;
};

Products& products() {
  static auto* const own = new Products;  // as long as the process: the driver may be gone before destructors run
  return *own;
}

int32_t product_candidates(int32_t device, const BertieCudaProduct* product, size_t workspace_bytes, int32_t most,
                           int32_t* count) {
  if (const cudaError_t error = use_device(device); error != cudaSuccess) return static_cast<int32_t>(error);
  return guarded([&] {
    Description description;
    describe(*product, description);
    *count = std::min<int32_t>(most, products().algorithms(device, *product, description, workspace_bytes).count);
  });
}

int32_t run_product(int32_t device, const BertieCudaProduct* product, const BertieCudaOperands* operands, void* stream) {
  if (const cudaError_t error = use_device(device); error != cudaSuccess) return static_cast<int32_t>(error);
  return guarded([&] {
    Description description;
    describe(*product, description);
    const Algorithms& algorithms = products().algorithms(device, *product, description, operands->workspace_bytes);
    if (product->has_bias) set(description.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands->bias);
    const auto& chosen =
        algorithms.results[static_cast<size_t>(operands->algorithm < algorithms.count ? operands->algorithm : 0)];
    const float one = 1, addend = product->has_addend ? 1.0f : 0.0f;
    const int32_t integers[] = {1, 0};
    const bool exact = product->element == BERTIE_CUDA_I8;
    check(cublasLtMatmul(
        products().handle(device), description.operation.handle, exact ? static_cast<const void*>(integers) : &one, operands->b,
        description.b.handle, operands->a, description.a.handle, exact ? static_cast<const void*>(integers + 1) : &addend,
        product->has_addend ? operands->addend : operands->d, description.d.handle, operands->d, description.d.handle,
        &chosen.algo, operands->workspace, operands->workspace_bytes, static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace

const char* product_error_text(int32_t status) {
  return cublasLtGetStatusString(static_cast<cublasStatus_t>(status - kCublasStatus));
}

void fill_products(BertieCudaApi& api) {
  api.product_candidates = product_candidates;
  api.run_product = run_product;
}

}  // namespace bertie::cuda
