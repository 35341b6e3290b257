// The eight-bit ops of the cpu backend, on every instruction set, against the reference: equal bits where the arithmetic is exact.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/kernel.h"
#include "cpu/backend.h"
#include "cpu/isa.h"
#include "network/quantized_output.h"
#include "quant/int8.h"
#include "reference/backend.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/scoped_isa.h"
#include "tests/support/eight_bits.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

struct Result {
  std::string kernel;
  std::vector<std::vector<std::byte>> outputs;

  std::vector<float> floats(size_t output) const { return as<float>(output); }
  std::vector<int8_t> values(size_t output) const { return as<int8_t>(output); }

 private:
  template <typename T>
  std::vector<T> as(size_t output) const {
    std::vector<T> elements(outputs.at(output).size() / sizeof(T));
    if (!elements.empty()) std::memcpy(elements.data(), outputs[output].data(), outputs[output].size());
    return elements;
  }
};

// All outputs of the first kernel of the active instruction set that takes the step. Memory holds NaN first.
Result run(const Backend& backend, const OpCase& op_case, int threads = 1) {
  Network network;
  std::vector<ValueId> inputs;
  std::vector<TensorView> views;
  for (const Operand& operand : op_case.inputs) {
    const Tensor& tensor = operand.tensor;
    views.push_back(tensor.data ? tensor.view() : TensorView{});
    inputs.push_back(!tensor.data ? kNone
                     : operand.constant
                         ? network.add_constant("constant", tensor)
                         : network.add_input("input", tensor.dtype, SymbolicShape(tensor.shape.begin(), tensor.shape.end())));
  }
  const std::vector<ValueId> made = network.add_node(op_case.op, inputs, op_case.attributes);
  const Node& node = network.node(network.value(made[0]).producer);
  PackedBatch batch;
  std::vector<int32_t> starts{0};
  for (int64_t length : op_case.lengths) {
    starts.push_back(starts.back() + static_cast<int32_t>(length));
    batch.longest = std::max(batch.longest, length);
  }
  batch.tokens = starts.back();
  batch.sequences = static_cast<int64_t>(op_case.lengths.size());
  batch.cumulative_lengths = starts.data();

  ThreadPool pool(threads);
  Result result;
  for (const KernelEntry& entry : backend.kernels()) {
    if (entry.op != op_case.op) continue;
    PrepareResult prepared = entry.prepare({network, node, pool});
    if (std::holds_alternative<Refusal>(prepared)) continue;
    const Kernel& kernel = *std::get<Preparation>(prepared).kernel;
    std::vector<TensorView> seen = views;
    for (size_t i = 0; i < seen.size(); ++i)
      if (op_case.inputs[i].constant && !kernel.reads_constant(i)) seen[i].data = nullptr;
    std::vector<MutableTensorView> outputs;
    for (const ValueId id : made) {
      std::vector<int64_t> extents;
      for (const Dim& dim : network.value(id).shape) extents.push_back(dim.size);
      const Shape shape{std::span<const int64_t>(extents)};
      auto& memory = result.outputs.emplace_back(static_cast<size_t>(shape.elements()) * dtype_size(network.value(id).dtype));
      std::fill(memory.begin(), memory.end(), std::byte{0xff});
      outputs.push_back({memory.data(), network.value(id).dtype, shape});
    }
    const size_t bytes = kernel.workspace_bytes({batch.tokens, batch.sequences, batch.longest, batch.rows}, threads);
    std::vector<std::byte> workspace(bytes + 64, std::byte{0xff});
    void* aligned = workspace.data();
    size_t space = workspace.size();
    std::align(64, bytes, aligned, space);
    kernel.run({seen, outputs, batch, {static_cast<std::byte*>(aligned), bytes}, pool});
    result.kernel = entry.name;
    return result;
  }
  ADD_FAILURE() << op_case.op << ": refused";
  return result;
}

// Calls check(isa's name, result on `threads` threads) on each instruction set.
template <typename Check>
void on_each_isa(const OpCase& op_case, Check check) {
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    for (int threads : {1, 2, 5}) {
      const Result result = run(cpu_backend(), op_case, threads);
      EXPECT_NE(result.kernel.find("cpu_" + std::string(isa.name) + "_"), std::string::npos) << result.kernel;
      check(isa, result);
    }
  }
}

OpCase int8_linear_case(std::mt19937& random, int64_t rows, int64_t k, int64_t n, Attributes attributes = {}, bool bias = true,
                        bool residual = false, bool one_scale = false) {
  OpCase c{"int8_linear", std::move(attributes), {}, {}, {}};
  c.inputs = {
      {random_integers(random, {rows, k})},
      one_scale ? Operand{tensor_of({}, {0.01f}), true} : Operand{random_tensor(random, {rows}, DType::f32, 0.001f, 0.01f)},
      {random_integers(random, {n, k}), true},
      {random_tensor(random, {n}, DType::f32, 0.001f, 0.01f), true}};
  c.inputs.push_back(bias ? Operand{random_tensor(random, {n}), true} : Operand{});
  c.inputs.push_back(residual ? Operand{random_tensor(random, {rows, n})} : Operand{});
  return c;
}

TEST(Int8Conformance, LinearWithoutActivationHasTheReferencesBits) {
  std::mt19937 random(5);
  for (int64_t rows : {0, 1, 2, 15, 16, 17, 33, 130})
    for (int64_t k : {0, 1, 63, 64, 65, 300})
      for (int64_t n : {1, 16, 35}) {
        const OpCase c = int8_linear_case(random, rows, k, n, {}, rows % 2 == 0, n == 35, k == 64);
        const Result expected = run(reference_backend(), c);
        on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
          EXPECT_EQ(result.outputs, expected.outputs) << isa.name << " " << rows << "x" << k << "x" << n;
        });
      }
}

TEST(Int8Conformance, LinearWithQuantisedRowsHasTheReferencesBits) {
  std::mt19937 random(6);
  for (int64_t rows : {0, 1, 17, 70, 150})
    for (int64_t n : {1, 48, 200}) {
      const OpCase c = int8_linear_case(random, rows, 90, n, {{"quantize_output", std::string("rows")}});
      const Result expected = run(reference_backend(), c);
      on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
        EXPECT_EQ(result.outputs, expected.outputs) << isa.name << " " << rows << "x" << n;
      });
    }
}

// [2, extent]: inverse scales and offsets that put values of about [-10, 10] on both sides of the bounds.
Operand quantization(std::mt19937& random, int64_t extent) {
  std::vector<float> numbers(static_cast<size_t>(2 * extent));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float share = static_cast<float>(random() % 1000) / 1000.0f;
    numbers[i] = i < numbers.size() / 2 ? 5 + 30 * share : 80 * share - 40;
  }
  return {tensor_of({2, extent}, numbers), true};
}

TEST(Int8Conformance, LinearWithResultsOfFixedScalesHasTheReferencesBits) {
  std::mt19937 random(16);
  for (int64_t rows : {0, 1, 2, 17, 70, 150})
    for (int64_t n : {1, 16, 35, 80, 700}) {
      OpCase c = int8_linear_case(random, rows, 90, n, {{"quantize_output", std::string("fixed")}}, n != 16, n == 80, true);
      c.inputs.push_back(quantization(random, n));
      const Result expected = run(reference_backend(), c);
      on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
        EXPECT_EQ(result.outputs, expected.outputs) << isa.name << " " << rows << "x" << n;
      });
    }
}

TEST(Int8Conformance, LinearWithActivations) {
  std::mt19937 random(7);
  for (const char* activation : {"gelu", "gelu_tanh", "relu", "silu", "tanh"}) {
    const OpCase c = int8_linear_case(random, 35, 64, 50, {{"activation", std::string(activation)}}, true, true);
    const std::vector<float> expected = run(reference_backend(), c).floats(0);
    on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
      const std::vector<float> got = result.floats(0);
      for (size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], 1e-6 * (1 + std::abs(expected[i]))) << isa.name << " " << activation << " " << i;
    });
  }
}

TEST(Int8Conformance, LinearShowsScalesThatAreNotFinite) {
  std::mt19937 random(8);
  OpCase c = int8_linear_case(random, 3, 20, 17);
  c.inputs[1].tensor = tensor_of({3}, {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1.0f});
  on_each_isa(c, [&](const cpu::Isa&, const Result& result) {
    const std::vector<float> got = result.floats(0);
    for (size_t n = 0; n < 17; ++n) {
      EXPECT_TRUE(std::isnan(got[n]));
      EXPECT_FALSE(std::isfinite(got[17 + n]));
      EXPECT_TRUE(std::isfinite(got[34 + n]));
    }
  });
}

TEST(Int8Conformance, QuantizeRowsHasTheReferencesBits) {
  std::mt19937 random(9);
  for (int64_t rows : {0, 1, 3, 300})
    for (int64_t extent : {0, 1, 15, 16, 17, 31, 32, 33, 384}) {
      const OpCase c{"quantize_rows", {}, {{random_tensor(random, {rows, extent})}}, {}, {}};
      const Result expected = run(reference_backend(), c);
      on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
        EXPECT_EQ(result.outputs, expected.outputs) << isa.name << " " << rows << "x" << extent;
      });
    }
}

TEST(Int8Conformance, QuantizeRowsByFixedScalesHasTheReferencesBits) {
  std::mt19937 random(19);
  for (int64_t rows : {0, 1, 3, 300})
    for (int64_t extent : {1, 15, 16, 17, 33, 384}) {
      std::vector<float> x(static_cast<size_t>(rows * extent));
      for (float& value : x) value = static_cast<float>(random() % 20001) / 1000.0f - 10;
      if (x.size() > 4) {
        x[1] = std::numeric_limits<float>::quiet_NaN();
        x[2] = std::numeric_limits<float>::infinity();
        x[3] = -x[2];
      }
      const OpCase c{"quantize_rows", {}, {{tensor_of({rows, extent}, x)}, quantization(random, extent)}, {}, {}};
      const Result expected = run(reference_backend(), c);
      ASSERT_EQ(expected.outputs.size(), 1u);
      on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
        EXPECT_EQ(result.outputs, expected.outputs) << isa.name << " " << rows << "x" << extent;
      });
    }
}

TEST(Int8Conformance, QuantizeRowsOfZerosTinyValuesAndThoseThatAreNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  const OpCase c{"quantize_rows",
                 {},
                 {{tensor_of({6, 3}, {0, -0.0f, 0, 1e-44f, -1e-44f, 0, 1, kInfinity, 2, -kInfinity, 1, 0, 1, kNan, 2, kInfinity,
                                      1, -kNan})}},
                 {},
                 {}};
  const Result expected = run(reference_backend(), c);
  on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
    EXPECT_EQ(result.values(0), expected.values(0)) << isa.name;
    const std::vector<float> scales = result.floats(1), expected_scales = expected.floats(1);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(scales[i], expected_scales[i]) << isa.name << " " << i;
    for (size_t i = 4; i < 6; ++i) EXPECT_TRUE(std::isnan(scales[i]) && std::isnan(expected_scales[i])) << isa.name << " " << i;
  });
}

// Of ops that compute in floats: what they give as integers is what int8.h makes of what they give as floats, bit for bit.
void expect_own_floats_quantised(OpCase c) {
  std::vector<std::vector<float>> floats;  // in the order of on_each_isa
  on_each_isa(c, [&](const cpu::Isa&, const Result& result) { floats.push_back(result.floats(0)); });
  int64_t width = c.inputs.front().tensor.shape.back();
  if (c.op == "embedding_layer_norm") width = c.inputs.back().tensor.shape[0];
  if (c.op == "attention") width /= 3;
  std::mt19937 random(20);
  const Operand fixed_scales = quantization(random, width);
  const float* numbers = fixed_scales.tensor.view().as<float>();
  for (const char* mode : {"rows", "both", "fixed", "fixed_both"}) {
    Node node;
    node.op = c.op;
    c.attributes["quantize_output"] = node.attributes["quantize_output"] = std::string(mode);
    const QuantizedOutput output(node);
    if (output.fixed) {
      c.inputs.resize(quantization_input(node));
      c.inputs.push_back(fixed_scales);
    }
    size_t turn = 0;
    on_each_isa(c, [&](const cpu::Isa& isa, const Result& result) {
      const std::vector<float>& x = floats[turn++];
      if (output.floats) {
        EXPECT_EQ(result.floats(0), x) << c.op << " " << isa.name;
      }
      const std::vector<int8_t> values = result.values(output.values());
      ASSERT_EQ(values.size(), x.size());
      for (size_t i = 0; output.fixed && i < x.size(); ++i) {
        const auto column = static_cast<int64_t>(i) % width;
        ASSERT_EQ(values[i], to_int8_fixed(x[i], numbers[column], numbers[width + column]))
            << c.op << " " << isa.name << " " << i;
      }
      if (output.fixed) return;
      const std::vector<float> scales = result.floats(output.scales());
      const size_t extent = scales.empty() ? 0 : x.size() / scales.size();
      for (size_t row = 0; row < scales.size(); ++row) {
        std::vector<int8_t> expected(extent);
        ASSERT_EQ(scales[row], quantize_int8(std::span(x).subspan(row * extent, extent), expected.data()))
            << c.op << " " << isa.name;
        ASSERT_EQ(std::memcmp(values.data() + row * extent, expected.data(), extent), 0)
            << c.op << " " << isa.name << " row " << row;
      }
    });
  }
}

TEST(Int8Conformance, LayerNormsQuantiseTheirRows) {
  std::mt19937 random(10);
  for (int64_t rows : {0, 1, 70})
    for (int64_t extent : {1, 33, 384}) {
      const Operand x = {random_tensor(random, {rows, extent})}, gamma = {random_tensor(random, {extent}), true};
      expect_own_floats_quantised({"layer_norm", {{"epsilon", 1e-5}}, {x, gamma, gamma}, {}, {}});
      expect_own_floats_quantised({"skip_layer_norm", {{"epsilon", 1e-5}}, {x, x, gamma, gamma}, {}, {}});
      std::vector<int64_t> ids(static_cast<size_t>(rows));
      for (int64_t& id : ids) id = static_cast<int64_t>(random() % 9);
      const Operand table = {random_tensor(random, {9, extent}), true}, none = {};
      expect_own_floats_quantised({"embedding_layer_norm",
                                   {{"epsilon", 1e-5}},
                                   {{indices({rows}, ids)}, none, {indices({rows}, ids)}, table, none, table, gamma, gamma},
                                   {},
                                   {}});
    }
}

TEST(Int8Conformance, AttentionQuantisesItsRows) {
  std::mt19937 random(11);
  for (const std::vector<int64_t>& lengths :
       {std::vector<int64_t>{}, {1}, {5, 0, 150, 1, 16, 300}, {128, 128, 128, 128}, {600, 3, 1, 600}, {900, 3, 1, 2}}) {
    int64_t tokens = 0;
    for (int64_t length : lengths) tokens += length;
    const Attributes attributes = {{"heads", int64_t{3}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
    expect_own_floats_quantised({"attention", attributes, {{random_tensor(random, {tokens, 3 * 3 * 40})}}, lengths, {}});
  }
}

OpResult run_int8_attention(const Backend& backend, OpCase c, int threads = 1) {
  c.attributes["precision"] = std::string("int8");
  return run_op(backend, c, threads);
}

void expect_the_references_bits(const OpCase& c, const std::string& name) {
  const OpResult expected = run_int8_attention(reference_backend(), c);
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    for (int threads : {1, 3}) {
      const OpResult result = run_int8_attention(cpu_backend(), c, threads);
      ASSERT_EQ(result.kernel, "cpu_" + std::string(isa.name) + "_i8_attention") << name << result.refusal;
      expect_same_bits(fmt::format("{} {}", isa.name, name), result.values, expected.values);
    }
  }
}

TEST(Int8Conformance, AttentionHasTheReferencesBits) {
  for (const ConformanceCase& c : attention_cases()) expect_the_references_bits(c.op, c.name);
  for (const ConformanceCase& c : padded_attention_cases()) expect_the_references_bits(c.op, c.name);
}

TEST(Int8Conformance, AttentionIsNearThatInFloat32) {
  for (const ConformanceCase& c : attention_cases()) {
    if (c.op.lengths != std::vector<int64_t>{19, 1, 130}) continue;
    const OpResult exact = run_op(reference_backend(), c.op), result = run_int8_attention(reference_backend(), c.op);
    double error = 0, size = 0;
    for (size_t i = 0; i < exact.values.size(); ++i) {
      error += std::pow(static_cast<double>(exact.values[i]) - result.values[i], 2);
      size += std::pow(static_cast<double>(exact.values[i]), 2);
    }
    EXPECT_LE(error, 0.02 * 0.02 * size) << c.name;
  }
}

TEST(Int8Conformance, AttentionOfASequenceDoesNotDependOnItsNeighbours) {
  std::mt19937 random(21);
  constexpr int64_t kWidth = 3 * 2 * 40;
  const Tensor rows = random_tensor(random, {470, kWidth});
  const Attributes attributes = {{"heads", int64_t{2}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
  const std::vector<float> all =
      run_int8_attention(cpu_backend(), {"attention", attributes, {{rows}}, {200, 1, 0, 140, 129}, {}}, 2).values;
  int64_t begin = 0;
  for (const int64_t length : {200, 1, 0, 140, 129}) {
    const Tensor own = slice_rows(rows, begin, length);
    const std::vector<float> alone = run_int8_attention(cpu_backend(), {"attention", attributes, {{own}}, {length}, {}}).values;
    expect_same_bits(fmt::format("length {}", length), alone,
                     std::span(all).subspan(static_cast<size_t>(begin * kWidth / 3), static_cast<size_t>(length * kWidth / 3)));
    begin += length;
  }
}

TEST(Int8Conformance, AttentionShowsWhatIsNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr int64_t kLength = 150, kHeadDim = 20;  // one head
  const Attributes attributes = {{"heads", int64_t{1}}, {"scale", 0.3}, {"packed_qkv", int64_t{1}}};
  const std::vector<float> usual = [] {
    std::mt19937 random(22);
    const Tensor x = random_tensor(random, {kLength, 3 * kHeadDim});
    const float* from = x.view().as<float>();
    return std::vector<float>(from, from + kLength * 3 * kHeadDim);
  }();
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    for (int64_t part = 0; part < 3; ++part) {  // of q, k, v
      for (const int64_t row : {0, 140}) {
        std::vector<float> x = usual;
        x[static_cast<size_t>(row * 3 * kHeadDim + part * kHeadDim + 3)] = bad;
        const OpCase c{"attention", attributes, {{tensor_of({kLength, 3 * kHeadDim}, x)}}, {kLength}, {}};
        const auto check = [&](const OpResult& result, std::string_view name) {
          for (int64_t i = 0; i < kLength * kHeadDim; ++i) {
            const bool shown = part == 0 ? i / kHeadDim == row : part == 1 || i % kHeadDim == 3;
            ASSERT_EQ(std::isnan(result.values[static_cast<size_t>(i)]), shown) << name << " " << bad << " " << part << " " << i;
            if (!shown) {
              ASSERT_TRUE(std::isfinite(result.values[static_cast<size_t>(i)])) << name;
            }
          }
        };
        check(run_int8_attention(reference_backend(), c), "reference");
        for (const cpu::Isa& isa : checked_isas()) {
          const ScopedIsa scoped(isa.name);
          check(run_int8_attention(cpu_backend(), c), isa.name);
        }
      }
    }
  }
}

TEST(Int8Conformance, AttentionOfZerosAndTinyValuesHasTheReferencesBits) {
  const Attributes attributes = {{"heads", int64_t{1}}, {"scale", 0.3}, {"packed_qkv", int64_t{1}}};
  std::mt19937 random(23);
  for (const float scale : {0.0f, 1e-44f, 1e-30f, 1e6f, 1e15f}) {
    expect_the_references_bits(
        {"attention", attributes, {{random_tensor(random, {33, 3 * 24}, DType::f32, scale)}}, {20, 13}, {}},
        std::to_string(scale));
  }
  OpCase c{"attention", attributes, {{random_tensor(random, {4, 3 * 8})}}, {4}, {}};
  c.attributes["scale"] = -0.3;
  EXPECT_EQ(run_int8_attention(cpu_backend(), c).kernel, "");  // refused
  EXPECT_EQ(run_int8_attention(reference_backend(), c).kernel, "reference_attention");
}

TEST(Int8Conformance, AttentionInEightBitsQuantisesItsRows) {
  std::mt19937 random(24);
  const Attributes attributes = {
      {"heads", int64_t{3}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}, {"precision", std::string("int8")}};
  expect_own_floats_quantised(
      {"attention", attributes, {{random_tensor(random, {472, 3 * 3 * 40})}}, {5, 0, 150, 1, 16, 300}, {}});
}

}  // namespace
}  // namespace bertie::test
