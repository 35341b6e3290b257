// Weights of linear layers stored in float32 whose every number bfloat16 or float16 holds (a 16-bit checkpoint that was exported in
// float32) lie in 16 bits: half the memory and half the bytes to read. Kernels widen them exactly, hence no bit of any result changes.
#include <algorithm>
#include <atomic>
#include <bit>

#include "base/mapped_file.h"
#include "passes/pass.h"
#include "passes/weight_rows.h"

namespace bertie {
namespace {

constexpr size_t kLeastBytes = size_t{256} << 10;  // what a core's own cache holds is not worth it

struct Narrow {
  DType dtype;
  uint16_t (*narrow)(float);
  float (*widen)(uint16_t);
};
constexpr Narrow kNarrow[] = {{DType::bf16, float_to_bf16, bf16_to_float}, {DType::f16, float_to_f16, f16_to_float}};

// False where a number is not held.
bool narrow_row(const Narrow& to, std::span<const float> row, uint16_t* halves) {
  return std::all_of(row.begin(), row.end(), [&](float number) {
    *halves = to.narrow(number);
    return std::bit_cast<uint32_t>(to.widen(*halves++)) == std::bit_cast<uint32_t>(number);
  });
}

// nullopt where neither type holds all of `weight`, f32 [N, K]: known of most after a number or two.
std::optional<Tensor> narrowed(const Tensor& weight, WeightRows& threads) {
  const auto width = static_cast<size_t>(weight.shape[1]);
  std::vector<uint16_t> first(width);
  for (const Narrow& to : kNarrow) {
    if (!narrow_row(to, {weight.view().as<float>(), width}, first.data())) continue;
    std::shared_ptr<uint16_t[]> halves(new uint16_t[static_cast<size_t>(weight.shape.elements())]);
    std::atomic<bool> held = true;
    threads.for_each(weight, false, [&](int64_t row, std::span<const float> floats) {
      if (held && !narrow_row(to, floats, halves.get() + static_cast<size_t>(row) * width)) held = false;
    });
    if (held) return Tensor{to.dtype, weight.shape, std::shared_ptr<const void>(halves, halves.get())};
  }
  return std::nullopt;
}

}  // namespace

void narrow_weights(Network& network, const PassOptions&, PassLog& log) {
  WeightRows threads;
  std::vector<std::string> names;
  for (const NodeId id : network.order()) {
    const Node node = network.node(id);
    if (node.op != "linear") continue;
    const ValueId weight = node.input(1);
    const std::optional<Tensor>& constant = network.value(weight).constant;
    if (!constant || !constant->data || constant->dtype != DType::f32 || constant->layout != TensorLayout::rows ||
        constant->shape.rank() != 2 || constant->bytes() < kLeastBytes ||
        !is_read_alone_by(network, weight, 1, [](const Node& reader) { return reader.op == "linear"; }))
      continue;
    std::optional<Tensor> halves = narrowed(*constant, threads);
    if (!halves) continue;
    release_resident(constant->data.get(), constant->bytes());
    const std::string name = network.value(weight).name;
    network.replace_uses(weight, network.add_constant(name, std::move(*halves)));
    names.push_back(node.name);
  }
  log.matched_each("float32 weights that 16 bits hold", names);
}

}  // namespace bertie
