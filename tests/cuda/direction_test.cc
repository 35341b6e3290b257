// Kernels of many rows take the last first in every other step (kernels/dependent_launch.cuh): their results are the same bits either way.
#include "cuda/kernels/any_attention.h"
#include "cuda/kernels/linear_layer_norm.h"
#include "tests/cuda/hopper_linear.h"

namespace bertie::test {
namespace {

using cuda::Activation;
using cuda::AnyAttentionParams;
using cuda::AnyLayerNormParams;
using cuda::AttentionTile;
using cuda::Element;
using cuda::LinearLayerNormParams;
using cuda::WgmmaLinearParams;

constexpr int64_t kRows = 9000, kLive = 8901, kWidth = 768, kHeads = 12;

class CudaDirection : public CudaLinear {
 protected:
  std::shared_ptr<const DeviceBuffer> random(const Shape& shape, float scale, DType dtype) {
    return own->upload(Tensor::from_floats(shape, random_floats(random_, shape.elements(), scale)), dtype);
  }
  static const float* floats(const std::shared_ptr<const DeviceBuffer>& of) { return reinterpret_cast<const float*>(of->data()); }

  // `launch(y, step)` writes kRows rows of `width`.
  template <typename Launch>
  void check(int64_t width, Launch launch) {
    std::vector<uint16_t> results[2];
    const DeviceBuffer y(own, static_cast<size_t>(kRows * width) * 2, "a test");
    for (const int32_t step : {0, 1}) {
      std::vector<uint16_t>& result = results[step];
      result.resize(static_cast<size_t>(kLive * width));
      stream->fill(y.data(), 0xff, y.bytes());
      launch(y.data(), step);
      stream->copy(result.data(), y.data(), result.size() * 2);
      stream->synchronize();
      EXPECT_EQ(std::count(result.begin(), result.end(), uint16_t{0xffff}), 0) << "not written, step " << step;
    }
    EXPECT_TRUE(results[0] == results[1]);
  }

  const int32_t live_ = kLive;
  std::mt19937 random_{5};
};

TEST_F(CudaDirection, OfLinearLayers) {
  const auto launcher = own->launcher<WgmmaLinearParams>("wgmma_linear");
  const auto x = random({kRows, kWidth}, 1, DType::f16), weight = random({3 * kWidth, kWidth}, 0.05f, DType::f16),
             bias = random({3 * kWidth}, 1, DType::f32);
  const DeviceBuffer live(own, sizeof live_, "a test");
  stream->copy(live.data(), &live_, sizeof live_);
  for (const int32_t columns : {0, 128, 192, 256}) {
    SCOPED_TRACE(columns);
    check(3 * kWidth, [&](std::byte* y, int32_t step) {
      WgmmaLinearParams params{};
      params.x = x->data();
      params.weight = weight->data();
      params.bias = floats(bias);
      params.y = y;
      params.element = Element::f16;
      params.activation = Activation::gelu;
      params.rows = kRows;
      params.columns = 3 * kWidth;
      params.depth = kWidth;
      params.live_rows = reinterpret_cast<const int32_t*>(live.data());
      params.step = step;
      params.tile_columns = columns;
      own->launch(launcher, params, *stream);
    });
  }
}

TEST_F(CudaDirection, OfLayerNorms) {
  const auto fused = own->launcher<LinearLayerNormParams>("linear_layer_norm");
  const auto norm = own->launcher<AnyLayerNormParams>("warp_layer_norm");
  const auto x = random({kRows, kWidth}, 1, DType::f16), weight = random({kWidth, kWidth}, 0.05f, DType::f16),
             residual = random({kRows, kWidth}, 1, DType::f16), gamma = random({kWidth}, 1, DType::f32),
             beta = random({kWidth}, 1, DType::f32);
  const DeviceBuffer live(own, sizeof live_, "a test");
  stream->copy(live.data(), &live_, sizeof live_);
  LinearLayerNormParams params{};
  params.x = x->data();
  params.weight = weight->data();
  params.residual = residual->data();
  params.gamma = floats(gamma);
  params.beta = floats(beta);
  params.element = Element::f16;
  params.epsilon = 1e-12f;
  params.rows = kRows;
  params.columns = params.depth = kWidth;
  params.live_rows = reinterpret_cast<const int32_t*>(live.data());
  params.mailboxes = stream->mailboxes();
  check(kWidth, [&](std::byte* y, int32_t step) {
    params.y = y;
    params.step = step;
    own->launch(fused, params, *stream);
  });
  check(kWidth, [&](std::byte* y, int32_t step) {
    params.y = y;
    params.step = step;
    own->launch(norm, cuda::layer_norm_of(params, x->data()), *stream);
  });
}

// Sequences of 1 to 300, in tiles of 192 queries at most.
TEST_F(CudaDirection, OfAttention) {
  const auto launcher = own->launcher<AnyAttentionParams>("wgmma_attention");
  const auto qkv = random({kRows, 3 * kWidth}, 1, DType::f16);
  std::vector<AttentionTile> tiles;
  for (int32_t row = 0, length = 1; row < live_; row += length) {
    length = std::min(static_cast<int32_t>(random_() % 300 + 1), live_ - row);
    for (int32_t query = 0; query < length; query += 192)
      tiles.push_back({row + query, std::min(192, length - query), row, length});
  }
  const auto count = static_cast<int32_t>(tiles.size());
  const DeviceBuffer tiles_there(own, tiles.size() * sizeof(AttentionTile), "a test"), count_there(own, sizeof count, "a test");
  stream->copy(tiles_there.data(), tiles.data(), tiles_there.bytes());
  stream->copy(count_there.data(), &count, sizeof count);
  check(kWidth, [&](std::byte* y, int32_t step) {
    AnyAttentionParams params{};
    params.q = qkv->data();
    params.k = qkv->data() + kWidth * 2;
    params.v = qkv->data() + kWidth * 4;
    params.y = y;
    params.element = Element::f16;
    params.row_stride = 3 * kWidth;
    params.key_rows = kRows;
    params.heads = kHeads;
    params.head_dim = kWidth / kHeads;
    params.scale = 0.125f;
    params.tiles = reinterpret_cast<const AttentionTile*>(tiles_there.data());
    params.tile_capacity = count;
    params.tile_count = reinterpret_cast<const int32_t*>(count_there.data());
    params.step = step;
    own->launch(launcher, params, *stream);
  });
}

}  // namespace
}  // namespace bertie::test
