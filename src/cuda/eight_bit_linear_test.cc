// Which kernel takes fp8_linear on which GPU, and what that of cuBLASLt asks the library for, without a GPU: the library here has memory
// of the host's and only notes products and launches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/message_of_test.h"
#include "bertie/base.h"
#include "cuda/fake_library_test.h"
#include "cuda/kernels/cluster_linear.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/eight_bit_sums.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/kernels/wgmma_linear.h"

namespace bertie::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct FakeLibrary {
  int32_t candidates = 1;
  std::vector<BertieCudaProduct> asked, run;
  std::vector<EightBitResultsParams> results;
};
FakeLibrary library_seen;

BertieCudaApi api_of_products() {
  static const BertieCudaLauncher launchers[] = {
      fake_launcher<ActivationParams>("activation"),
      fake_launcher<ClusterLinearParams>("cluster_linear"),
      fake_launcher<ConvertParams>("convert"),
      fake_launcher<Int8SumsParams>("int8_sums"),
      fake_launcher<QuantizeRowsParams>("quantize_rows"),
      fake_launcher<WgmmaLinearParams>("wgmma_linear"),
      {"eight_bit_results", sizeof(EightBitResultsParams), [](const void* params, int32_t, void*) {
         library_seen.results.push_back(*static_cast<const EightBitResultsParams*>(params));
         return 0;
       }}};
  BertieCudaApi api = fake_api(launchers);
  api.product_candidates = [](int32_t, const BertieCudaProduct* product, size_t, int32_t, int32_t* count) {
    library_seen.asked.push_back(*product);
    *count = library_seen.candidates;
    return 0;
  };
  api.run_product = [](int32_t, const BertieCudaProduct* product, const BertieCudaOperands*, void*) {
    library_seen.run.push_back(*product);
    return 0;
  };
  return api;
}

struct Layer {
  int64_t columns = 48, depth = 64;
  const char* precision = "fp16";
  bool residual = false;
  bool constant_scales = true;
};

std::shared_ptr<CudaDevice> device_of(int capability) {
  library_seen = {};
  fake_capability = capability;
  static const BertieCudaApi api = api_of_products();
  return CudaDevice::open(api, 0);
}

Tensor zeros(DType dtype, const Shape& shape) {
  const auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(shape.elements()) * dtype_size(dtype));
  return {dtype, shape, std::shared_ptr<const void>(bytes, bytes->data())};
}

Choice choose(const std::shared_ptr<CudaDevice>& device, const Layer& layer = {}) {
  Network network;
  const ValueId x = network.add_input("x", DType::u8, {"tokens", layer.depth}),
                scale = network.add_constant("x.scale", zeros(DType::f32, {})),
                weight = network.add_constant("w", zeros(DType::u8, {layer.columns, layer.depth})),
                scales = layer.constant_scales ? network.add_constant("w.scale", zeros(DType::f32, {layer.columns}))
                                               : network.add_input("w.scale", DType::f32, {layer.columns}),
                residual = layer.residual ? network.add_input("residual", DType::f32, {"tokens", layer.columns}) : kNone;
  const ValueId y = network.add_node("fp8_linear", {x, scale, weight, scales, kNone, residual}, {}, "layer")[0];
  network.mutable_node(network.value(y).producer).attributes["precision"] = std::string(layer.precision);
  return choose_kernel(network, y, device);
}

TEST(Fp8Linear, BelowAdaTheErrorSaysWhatThereIs) {
  for (const int capability : {80, 86}) {
    const auto device = device_of(capability);
    EXPECT_THAT(cuda_precisions(*device), ElementsAre("fp32", "tf32", "fp16", "bf16", "int8"));
    EXPECT_EQ(
        message_of([&] { choose(device); }),
        fmt::format("linear layer 'layer' in fp8: that is for compute capability 8.9 and above; device cuda:0 has 8.{}, and "
                    "the precisions fp32, tf32, fp16, bf16, int8",
                    capability % 10));
  }
}

TEST(Fp8Linear, IsCublasltsOnAdaAndBlackwell) {
  for (const int capability : {89, 100, 103, 120}) {
    const auto device = device_of(capability);
    EXPECT_THAT(cuda_precisions(*device), ElementsAre("fp32", "tf32", "fp16", "bf16", "int8", "fp8"));
    for (const char* precision : {"fp16", "bf16", "fp32"}) {
      library_seen.asked.clear();
      const Choice choice = choose(device, {.precision = precision});
      EXPECT_EQ(choice.kernel, "cuda_cublaslt_fp8_linear") << choice.refusals;
      EXPECT_EQ(choice.reason, "cuBLASLt, e4m3, sums in f32");
      EXPECT_THAT(choice.refusals, HasSubstr("9.0 alone has wgmma"));
      ASSERT_EQ(library_seen.asked.size(), 1u);
      const BertieCudaProduct& product = library_seen.asked[0];
      EXPECT_EQ(product.element, BERTIE_CUDA_E4M3);
      EXPECT_EQ(product.result, BERTIE_CUDA_F32);
      EXPECT_EQ(product.transposed, 1);
      EXPECT_EQ(product.has_bias + product.has_addend, 0);
      EXPECT_EQ(product.n, 48);
      EXPECT_EQ(product.k, 64);
    }
  }
}

TEST(Fp8Linear, OnHopperCublasltTakesWhatWgmmaDoesNot) {
  const auto device = device_of(90);
  EXPECT_EQ(choose(device).kernel, "cuda_wgmma_fp8_linear");
  EXPECT_TRUE(library_seen.asked.empty());
  EXPECT_EQ(choose(device, {.precision = "fp32"}).kernel, "cuda_cublaslt_fp8_linear");
  EXPECT_EQ(choose(device, {.residual = true}).kernel, "cuda_cublaslt_fp8_linear");
  // wgmma_linear reads them before the kernel that would give them has ended.
  EXPECT_EQ(choose(device, {.constant_scales = false}).kernel, "cuda_cublaslt_fp8_linear");
}

TEST(Fp8Linear, IsRefusedWithoutAProductOfTheseExtents) {
  const auto device = device_of(89);
  for (const Layer& layer : {Layer{.columns = 40}, Layer{.depth = 24}}) {
    const Choice choice = choose(device, layer);
    EXPECT_EQ(choice.kernel, "");
    EXPECT_THAT(choice.refusals, HasSubstr("multiples of 16"));
    EXPECT_TRUE(library_seen.asked.empty());
  }
  library_seen.candidates = 0;
  EXPECT_THAT(choose(device).refusals, HasSubstr("48 columns, 64 deep: cuBLASLt has no product of e4m3"));
}

// The fake has no L2 cache, so that the least rows are taken at a time.
TEST(Fp8Linear, RowsAreTakenSoManyAtATime) {
  const auto device = device_of(89);
  const Choice choice = choose(device);
  ASSERT_TRUE(choice.step);
  constexpr int64_t kRows = 2500, kColumns = 48;
  std::vector<uint8_t> x(kRows * 64);
  std::vector<uint16_t> y(kRows * kColumns);
  std::vector<std::byte> workspace(choice.step->workspace_bytes({kRows, 1, kRows, 0}, 1));
  const auto stream = std::static_pointer_cast<Device>(device)->make_stream();
  int32_t overflow = 0;
  const int32_t live = 2000;
  const DeviceBatch batch{*stream, &live, &live, &live, nullptr, 0, nullptr, &overflow, 3};
  const TensorView none;
  const TensorView inputs[] = {{x.data(), DType::u8, {kRows, 64}}, none, none, none, none, none};
  const MutableTensorView outputs[] = {{y.data(), DType::f16, {kRows, kColumns}}};
  ThreadPool pool(1);
  choice.step->run({inputs, outputs, PackedBatch{}, workspace, pool, &batch});
  ASSERT_EQ(library_seen.run.size(), 3u);
  ASSERT_EQ(library_seen.results.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const EightBitResultsParams& params = library_seen.results[i];
    const int64_t first = static_cast<int64_t>(i) * 1024, rows = std::min<int64_t>(kRows - first, 1024);
    EXPECT_EQ(library_seen.run[i].m, rows);
    EXPECT_EQ(params.rows, rows);
    EXPECT_EQ(params.first_row, first);
    EXPECT_EQ(params.sums, workspace.data());
    EXPECT_TRUE(params.float_sums);
    EXPECT_TRUE(params.one_scale);
    EXPECT_EQ(params.y, y.data() + first * kColumns);
    EXPECT_EQ(params.live_rows, &live);
    EXPECT_EQ(params.step, 3);
  }
}

}  // namespace
}  // namespace bertie::cuda
