// Linear layers on Hopper, as the steps that have one launch them: by cluster_linear for few tiles, and by wgmma_linear for more.
#pragma once

#include "cuda/cuda_device.h"
#include "cuda/kernels/cluster_linear.h"
#include "cuda/kernels/wgmma_linear.h"

namespace bertie::cuda {

class HopperLinear {
 public:
  // `device` outlives this.
  explicit HopperLinear(const CudaDevice& device)
      : device_(device),
        few_tiles_(device.launcher<ClusterLinearParams>("cluster_linear")),
        many_tiles_(device.launcher<WgmmaLinearParams>("wgmma_linear")) {}

  void launch(const WgmmaLinearParams& params, const Stream& stream) const {
    ClusterLinearParams cluster{};
    cluster.tile =
        cluster_linear_tile(params.rows, params.columns, params.depth * (params.operands == LinearOperands::elements ? 2 : 1),
                            params.activation == Activation::gelu, device_.properties().multiprocessors);
    if (cluster.tile.rows == 0) return device_.launch(many_tiles_, params, stream);
    cluster.x = params.x;
    cluster.weight = params.weight;
    cluster.bias = params.bias;
    cluster.y = params.y;
    cluster.operands = params.operands;
    cluster.element = params.element;
    cluster.x_scale = params.x_scale;
    cluster.one_scale = params.one_scale;
    cluster.w_scale = params.w_scale;
    cluster.quantized = params.quantized;
    cluster.activation = params.activation;
    cluster.rows = params.rows;
    cluster.columns = params.columns;
    cluster.depth = params.depth;
    cluster.live_rows = params.live_rows;
    cluster.overflow = params.overflow;
    cluster.step = params.step;
    device_.launch(few_tiles_, cluster, stream);
  }

 private:
  const CudaDevice& device_;
  Launcher<ClusterLinearParams> few_tiles_;
  Launcher<WgmmaLinearParams> many_tiles_;
};

}  // namespace bertie::cuda
