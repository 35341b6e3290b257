#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "base/float16.h"
#include "cpu/backend.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/random_floats_test.h"

namespace bertie::cpu {
namespace {

Tensor tensor_of(const Shape& shape, uint32_t seed) {
  return Tensor::from_floats(shape, random_floats(static_cast<size_t>(shape.elements()), seed));
}

Tensor half_tensor(const Tensor& floats, DType dtype) {
  auto halves = std::make_shared<std::vector<uint16_t>>();
  for (int64_t i = 0; i < floats.shape.elements(); ++i) {
    const float value = floats.view().as<float>()[i];
    halves->push_back(dtype == DType::f16 ? float_to_f16(value) : float_to_bf16(value));
  }
  return {dtype, floats.shape, std::shared_ptr<const void>(halves, halves->data())};
}

std::vector<float> run(const Kernel& kernel, ThreadPool& pool, const std::vector<float>& x, const Shape& x_shape,
                       int64_t columns) {
  Shape shape = x_shape;
  shape[shape.rank() - 1] = columns;
  std::vector<float> out(static_cast<size_t>(shape.elements()), -1e30f);
  const TensorView input{x.data(), DType::f32, x_shape};
  const MutableTensorView output{out.data(), DType::f32, shape};
  const size_t bytes = kernel.workspace_bytes({}, pool.threads());
  std::vector<std::byte> workspace(bytes + 64);
  void* aligned = workspace.data();
  size_t space = workspace.size();
  std::align(64, bytes, aligned, space);
  const PackedBatch batch;
  const TensorView inputs[] = {input, {}, {}};  // weight and bias were packed
  kernel.run({inputs, {&output, 1}, batch, {static_cast<std::byte*>(aligned), bytes}, pool});
  return out;
}

struct Built {
  Network network;
  NodeId node;
};

Built build(const Tensor& weight, const Tensor& bias, bool tied = false) {
  Built built;
  const int64_t k = weight.shape[1];
  const ValueId w = built.network.add_constant("w", weight);
  const ValueId b = built.network.add_constant("b", bias);
  const ValueId x = tied ? built.network.add_embedding(w, built.network.add_input("ids", DType::i64, {"batch", "sequence"}))
                         : built.network.add_input("x", DType::f32, {"batch", "sequence", k});
  const ValueId y = built.network.add_linear(x, w, b, "decoder");
  built.network.add_output("y", y);
  built.node = built.network.value(y).producer;
  return built;
}

PrepareResult prepare(const Built& built, ThreadPool& pool, std::string* name = nullptr) {
  PrepareResult result = Refusal{"nobody took it"};
  for (const KernelEntry& entry : cpu_backend().kernels()) {
    if (entry.op != "linear") continue;
    result = entry.prepare({built.network, built.network.node(built.node), pool});
    if (!std::holds_alternative<Preparation>(result)) continue;
    if (name) *name = entry.name;
    break;
  }
  return result;
}

TEST(Linear, MatchesFloat64ForEveryWeightType) {
  ThreadPool pool(2);
  const Tensor floats = tensor_of({37, 50}, 1), bias = tensor_of({37}, 2);
  const std::vector<float> x = random_floats(2 * 3 * 50, 3);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const Tensor weight = dtype == DType::f32 ? floats : half_tensor(floats, dtype);
    const Tensor typed_bias = dtype == DType::f32 ? bias : half_tensor(bias, dtype);
    const auto widen = [dtype](const Tensor& tensor, int64_t i) {
      if (dtype == DType::f32) return static_cast<double>(tensor.view().as<float>()[i]);
      const uint16_t half = tensor.view().as<uint16_t>()[i];
      return static_cast<double>(dtype == DType::f16 ? f16_to_float(half) : bf16_to_float(half));
    };
    const Built built = build(weight, typed_bias);
    const PrepareResult result = prepare(built, pool);
    ASSERT_TRUE(std::holds_alternative<Preparation>(result)) << std::get<Refusal>(result).reason;
    const Kernel& kernel = *std::get<Preparation>(result).kernel;
    const std::vector<float> y = run(kernel, pool, x, {2, 3, 50}, 37);
    for (int64_t r = 0; r < 6; ++r) {
      for (int64_t n = 0; n < 37; ++n) {
        double sum = widen(typed_bias, n), magnitude = std::abs(sum);
        for (int64_t k = 0; k < 50; ++k) {
          const double product = static_cast<double>(x[static_cast<size_t>(r * 50 + k)]) * widen(weight, n * 50 + k);
          sum += product;
          magnitude += std::abs(product);
        }
        EXPECT_NEAR(y[static_cast<size_t>(r * 37 + n)], sum, 54 * 6e-8 * magnitude) << dtype_name(dtype) << " " << r << "," << n;
      }
    }
    EXPECT_FALSE(kernel.reads_constant(1));
    EXPECT_FALSE(kernel.reads_constant(2));
    EXPECT_EQ(kernel.packed_bytes(), 48u * 50u * dtype_size(dtype) + 37u * 4u);
  }
}

TEST(Linear, TiedDecoderIsNotPackedAndGivesTheSameBits) {
  ThreadPool pool(2);
  const Tensor weight = tensor_of({1000, 400}, 1), bias = tensor_of({1000}, 2);
  const Tensor copy = Tensor::from_floats(weight.shape, {weight.view().as<float>(), 400000});
  const std::vector<float> x = random_floats(3 * 400, 3);
  const Built tied = build(weight, bias, true), free = build(copy, bias);
  std::string name;
  const PrepareResult shared = prepare(tied, pool, &name);
  ASSERT_TRUE(std::holds_alternative<Preparation>(shared));
  EXPECT_EQ(name, "cpu_" + std::string(active_isa().name) + "_f32_linear_shared");
  const PrepareResult packed = prepare(free, pool, &name);
  ASSERT_TRUE(std::holds_alternative<Preparation>(packed));
  EXPECT_EQ(name, "cpu_" + std::string(active_isa().name) + "_f32_linear");
  const Kernel& shared_kernel = *std::get<Preparation>(shared).kernel;
  EXPECT_TRUE(shared_kernel.reads_constant(1));
  EXPECT_EQ(shared_kernel.packed_bytes(), 4000u);  // the bias
  const std::vector<float> a = run(shared_kernel, pool, x, {1, 3, 400}, 1000);
  const std::vector<float> b = run(*std::get<Preparation>(packed).kernel, pool, x, {1, 3, 400}, 1000);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

TEST(Linear, PanelsOfAnEngineFileAreReadInPlaceAndGiveTheSameBits) {
  ThreadPool pool(2);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const Tensor floats = tensor_of({37, 50}, 1), bias = tensor_of({37}, 2);
    const Tensor weight = dtype == DType::f32 ? floats : half_tensor(floats, dtype);
    Tensor panels{dtype, weight.shape, nullptr, TensorLayout::panels_16};
    const std::shared_ptr<float> storage(static_cast<float*>(std::aligned_alloc(64, (panels.bytes() + 63) / 64 * 64)), std::free);
    pack_panel_lines(weight.view(), 0, panel_count(37) * 50, storage.get());
    panels.data = storage;
    const std::vector<float> x = random_floats(5 * 50, 3);
    const Built from_rows = build(weight, bias), from_panels = build(panels, bias);
    const PrepareResult packed = prepare(from_rows, pool), in_place = prepare(from_panels, pool);
    const Kernel& kernel = *std::get<Preparation>(in_place).kernel;
    EXPECT_TRUE(kernel.reads_constant(1));
    EXPECT_EQ(kernel.packed_bytes(), 37u * 4u);  // the bias
    const std::vector<float> a = run(kernel, pool, x, {5, 50}, 37);
    const std::vector<float> b = run(*std::get<Preparation>(packed).kernel, pool, x, {5, 50}, 37);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << dtype_name(dtype);

    const PackedWeight by_kernel(*active_isa().kernels, weight, pool);
    ASSERT_EQ(by_kernel.bytes(), panels.bytes());
    EXPECT_EQ(std::memcmp(by_kernel.panels(), storage.get(), panels.bytes()), 0) << dtype_name(dtype);
  }
}

TEST(Linear, LayersThatShareAWeightShareItsPacking) {
  ThreadPool pool(1);
  Built built = build(tensor_of({32, 32}, 1), tensor_of({32}, 2));
  const Node first = built.network.node(built.node);
  const ValueId again = built.network.add_linear(first.outputs[0], first.inputs[1], first.inputs[2], "again");
  const PrepareResult one = prepare(built, pool);
  built.node = built.network.value(again).producer;
  const PrepareResult two = prepare(built, pool);
  EXPECT_EQ(std::get<Preparation>(one).kernel->packed_bytes(), 32u * 33u * 4u);
  EXPECT_EQ(std::get<Preparation>(two).kernel->packed_bytes(), 32u * 4u);
}

TEST(Linear, RefusesAWeightThatIsNotConstant) {
  ThreadPool pool(1);
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {"batch", 8}), w = network.add_input("w", DType::f32, {4, 8});
  const NodeId node = network.value(network.add_linear(x, w, kNone)).producer;
  const PrepareResult result = prepare_linear({network, network.node(node), pool});
  ASSERT_TRUE(std::holds_alternative<Refusal>(result));
  EXPECT_EQ(std::get<Refusal>(result).reason, "the weight is not constant");
}

TEST(Linear, NoRows) {
  ThreadPool pool(2);
  const Built built = build(tensor_of({16, 8}, 1), tensor_of({16}, 2));
  const PrepareResult result = prepare(built, pool);
  EXPECT_TRUE(run(*std::get<Preparation>(result).kernel, pool, {}, {0, 3, 8}, 16).empty());
}

}  // namespace
}  // namespace bertie::cpu
