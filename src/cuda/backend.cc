#include "cuda/backend.h"

#include <charconv>
#include <map>
#include <mutex>

#include "cuda/cuda_device.h"
#include "cuda/eight_bit_linear.h"
#include "cuda/kernels/linear_layer_norm.h"
#include "cuda/library.h"
#include "cuda/ops.h"
#include "cuda/peak.h"

namespace bertie {
namespace {

// Where several take an op they stand in the order in which they are asked.
constexpr KernelEntry kTable[] = {
    {"attention", "cuda_int8_attention", cuda::prepare_int8_attention},
    {"attention", "cuda_fp8_attention", cuda::prepare_fp8_attention},
    {"attention", "cuda_wgmma_attention", cuda::prepare_wgmma_attention},
    {"attention", "cuda_tile_attention", cuda::prepare_tile_attention},
    {"attention", "cuda_tf32_attention", cuda::prepare_tf32_attention},
    {"attention", "cuda_any_attention", cuda::prepare_any_attention},
    {"cast", "cuda_cast", cuda::prepare_cast},
    {"concat", "cuda_concat", cuda::prepare_concat},
    {"elementwise", "cuda_elementwise", cuda::prepare_elementwise},
    {"embedding", "cuda_embedding", cuda::prepare_embedding},
    {"embedding_layer_norm", "cuda_warp_embedding_layer_norm", cuda::prepare_warp_embedding_layer_norm},
    {"embedding_layer_norm", "cuda_any_embedding_layer_norm", cuda::prepare_any_embedding_layer_norm},
    {"expand", "cuda_expand", cuda::prepare_expand},
    {"fp8_linear", "cuda_wgmma_fp8_linear", cuda::prepare_wgmma_fp8_linear},
    {"fp8_linear", "cuda_cublaslt_fp8_linear", cuda::prepare_cublaslt_fp8_linear},
    {"gather", "cuda_gather", cuda::prepare_gather},
    {"gather_rows", "cuda_gather_rows", cuda::prepare_gather_rows},
    {"gelu", "cuda_gelu", cuda::prepare_gelu},
    {"int8_linear", "cuda_wgmma_int8_linear", cuda::prepare_wgmma_int8_linear},
    {"int8_linear", "cuda_int8_linear", cuda::prepare_int8_linear},
    {"layer_norm", "cuda_warp_layer_norm", cuda::prepare_warp_layer_norm},
    {"layer_norm", "cuda_any_layer_norm", cuda::prepare_any_layer_norm},
    {"linear", "cuda_wgmma_linear", cuda::prepare_wgmma_linear},
    {"linear", "cuda_cublaslt_linear", cuda::prepare_linear},
    {"linear_skip_layer_norm", "cuda_linear_layer_norm", cuda::prepare_linear_layer_norm},
    {"matmul", "cuda_cublaslt_matmul", cuda::prepare_matmul},
    {"normalize", "cuda_normalize", cuda::prepare_normalize},
    {"pack_rows", "cuda_pack_rows", cuda::prepare_pack_rows},
    {"pool", "cuda_pool", cuda::prepare_pool},
    {"quantize_rows", "cuda_quantize_rows", cuda::prepare_quantize_rows},
    {"reduce", "cuda_reduce", cuda::prepare_reduce},
    {"reshape", "cuda_reshape", cuda::prepare_reshape},
    {"skip_layer_norm", "cuda_warp_skip_layer_norm", cuda::prepare_warp_skip_layer_norm},
    {"skip_layer_norm", "cuda_any_skip_layer_norm", cuda::prepare_any_skip_layer_norm},
    {"slice", "cuda_slice", cuda::prepare_slice},
    {"softmax", "cuda_softmax", cuda::prepare_softmax},
    {"split", "cuda_split", cuda::prepare_split},
    {"squeeze", "cuda_reshape", cuda::prepare_reshape},
    {"top_k_log_sum_exp", "cuda_top_k_log_sum_exp", cuda::prepare_top_k_log_sum_exp},
    {"transpose", "cuda_transpose", cuda::prepare_transpose},
    {"unary", "cuda_unary", cuda::prepare_unary},
    {"unsqueeze", "cuda_reshape", cuda::prepare_reshape},
    {"where", "cuda_where", cuda::prepare_where},
};
std::span<const KernelEntry> entries() { return kTable; }

constexpr KernelEntry kAlternatives[] = {
    {"linear", "cuda_cublaslt_linear_1", cuda::prepare_linear_candidate<1>},
    {"linear", "cuda_cublaslt_linear_2", cuda::prepare_linear_candidate<2>},
    {"linear", "cuda_cublaslt_linear_3", cuda::prepare_linear_candidate<3>},
    {"linear", "cuda_cublaslt_linear_4", cuda::prepare_linear_candidate<4>},
    {"linear", "cuda_cublaslt_linear_5", cuda::prepare_linear_candidate<5>},
    {"linear", "cuda_cublaslt_linear_6", cuda::prepare_linear_candidate<6>},
    {"linear", "cuda_cublaslt_linear_7", cuda::prepare_linear_candidate<7>},
};
std::span<const KernelEntry> alternatives() { return kAlternatives; }

std::span<const Precision> precisions() {
  static constexpr Precision kAll[] = {{"fp32"}, {"tf32"}, {"fp16"}, {"bf16"}, {"int8", true}, {"fp8", true}};
  return kAll;
}

constexpr std::string_view kPrefix = "cuda:";

// -1: not a number.
int index_of(std::string_view name) {
  if (name == "cuda") return 0;
  const std::string_view digits = name.substr(std::min(name.size(), kPrefix.size()));
  int index = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  return name.starts_with(kPrefix) && error == std::errc() && end == digits.data() + digits.size() ? index : -1;
}

// Devices stay open as long as the process.
std::shared_ptr<Device> open(std::string_view name) {
  static std::mutex mutex;
  static auto* const opened = new std::map<int, std::shared_ptr<cuda::CudaDevice>>;  // the driver may be gone at exit
  const std::lock_guard lock(mutex);
  std::shared_ptr<cuda::CudaDevice>& device = (*opened)[index_of(name)];
  if (!device) device = cuda::CudaDevice::open(cuda::library(), index_of(name));
  return device;
}

// What prepare_linear_layer_norm does not refuse.
bool fuses_linear_layer_norm(std::string_view name, int64_t columns, int64_t depth_bytes) {
  const auto device = std::static_pointer_cast<cuda::CudaDevice>(open(name));
  return device->capability() == 90 && cuda::linear_layer_norm_takes(columns, depth_bytes);
}

}  // namespace

const Backend& cuda_backend() {
  static constexpr Backend kBackend{.name = "cuda",
                                    .kernels = entries,
                                    .alternatives = alternatives,
                                    .open = open,
                                    .on_device = true,
                                    .precisions = precisions,
                                    .fuses_linear_layer_norm = fuses_linear_layer_norm};
  return kBackend;
}

bool is_cuda_device(std::string_view name) { return index_of(name) >= 0; }

std::vector<std::string> cuda_devices() {
  int32_t count = 0;
  if (cuda::library().device_count(&count) != BERTIE_CUDA_OK || count == 0) count = 1;  // opening it says why
  std::vector<std::string> names;
  for (int index = 0; index < count; ++index) names.push_back(fmt::format("cuda:{}", index));
  return names;
}

std::vector<std::string> cuda_precisions(const Device& device) {
  const bool fp8 = static_cast<const cuda::CudaDevice&>(device).capability() >= cuda::kFp8Capability;
  std::vector<std::string> names;
  for (const Precision& precision : precisions()) {
    if (fp8 || precision.name != "fp8") names.emplace_back(precision.name);
  }
  return names;
}

CudaPeaks measure_cuda_peaks(Device& device) {
  auto& own = static_cast<cuda::CudaDevice&>(device);
  CudaPeaks peaks;
  try {
    peaks.bandwidth = cuda::measure_bandwidth(own);
    peaks.fp32 = cuda::measure_flops(own, DType::f32);
    peaks.tf32 = cuda::measure_flops(own, DType::f32, true);
    peaks.fp16 = cuda::measure_flops(own, DType::f16);
    peaks.bf16 = cuda::measure_flops(own, DType::bf16);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
  }
  return peaks;
}

}  // namespace bertie
