// The kernel families of this library, by the names that the host side asks for. Each line needs its header above.
#include <iterator>

#include "cuda/kernels/activation.h"
#include "cuda/kernels/any_attention.h"
#include "cuda/kernels/any_layer_norm.h"
#include "cuda/kernels/cast.h"
#include "cuda/kernels/cluster_linear.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/eight_bit_attention.h"
#include "cuda/kernels/eight_bit_sums.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/gather.h"
#include "cuda/kernels/gather_rows.h"
#include "cuda/kernels/linear_layer_norm.h"
#include "cuda/kernels/normalize.h"
#include "cuda/kernels/pack_rows.h"
#include "cuda/kernels/pool.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/kernels/reduce.h"
#include "cuda/kernels/softmax.h"
#include "cuda/kernels/split_linear.h"
#include "cuda/kernels/strided_copy.h"
#include "cuda/kernels/tf32_attention.h"
#include "cuda/kernels/tile_attention.h"
#include "cuda/kernels/top_k_log_sum_exp.h"
#include "cuda/kernels/warp_layer_norm.h"
#include "cuda/kernels/wgmma_attention.h"
#include "cuda/kernels/wgmma_linear.h"
#include "cuda/kernels/where.h"
#include "cuda/library/runtime.h"

namespace bertie::cuda {
namespace {

template <typename Params, cudaError_t (*kLaunch)(const Params&, cudaStream_t)>
constexpr BertieCudaLauncher launcher(const char* name) {
  return {name, sizeof(Params), [](const void* params, int32_t device, void* stream) {
            cudaError_t error = use_device(device);
            if (error == cudaSuccess) error = kLaunch(*static_cast<const Params*>(params), static_cast<cudaStream_t>(stream));
            if (error != cudaSuccess) cudaGetLastError();
            return static_cast<int32_t>(error);
          }};
}

constexpr BertieCudaLauncher kLaunchers[] = {
    launcher<ActivationParams, launch_activation>("activation"),
    launcher<AnyAttentionParams, launch_any_attention>("any_attention"),
    launcher<AnyLayerNormParams, launch_any_layer_norm>("any_layer_norm"),
    launcher<CastParams, launch_cast>("cast"),
    launcher<ClusterLinearParams, launch_cluster_linear>("cluster_linear"),
    launcher<ConvertParams, launch_convert>("convert"),
    launcher<EightBitResultsParams, launch_eight_bit_results>("eight_bit_results"),
    launcher<ElementwiseParams, launch_elementwise>("elementwise"),
    launcher<AnyAttentionParams, launch_fp8_attention>("fp8_attention"),
    launcher<GatherParams, launch_gather>("gather"),
    launcher<GatherRowsParams, launch_gather_rows>("gather_rows"),
    launcher<AnyAttentionParams, launch_int8_attention>("int8_attention"),
    launcher<Int8SumsParams, launch_int8_sums>("int8_sums"),
    launcher<LinearLayerNormParams, launch_linear_layer_norm>("linear_layer_norm"),
    launcher<NormalizeParams, launch_normalize>("normalize"),
    launcher<PackRowsParams, launch_pack_rows>("pack_rows"),
    launcher<PoolParams, launch_pool>("pool"),
    launcher<QuantizeRowsParams, launch_quantize_rows>("quantize_rows"),
    launcher<ReduceParams, launch_reduce>("reduce"),
    launcher<SoftmaxParams, launch_softmax>("softmax"),
    launcher<SplitLinearParams, launch_split_linear>("split_linear"),
    launcher<StridedCopyParams, launch_strided_copy>("strided_copy"),
    launcher<AnyAttentionParams, launch_tf32_attention>("tf32_attention"),
    launcher<AnyAttentionParams, launch_tile_attention>("tile_attention"),
    launcher<TopKLogSumExpParams, launch_top_k_log_sum_exp>("top_k_log_sum_exp"),
    launcher<UnaryParams, launch_unary>("unary"),
    launcher<AnyLayerNormParams, launch_warp_layer_norm>("warp_layer_norm"),
    launcher<AnyAttentionParams, launch_wgmma_attention>("wgmma_attention"),
    launcher<WgmmaLinearParams, launch_wgmma_linear>("wgmma_linear"),
    launcher<WhereParams, launch_where>("where"),
};

}  // namespace

void fill_launchers(BertieCudaApi& api) {
  api.launchers = kLaunchers;
  api.launcher_count = static_cast<int32_t>(std::size(kLaunchers));
}

}  // namespace bertie::cuda
