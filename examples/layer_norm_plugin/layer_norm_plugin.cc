// bertie.examples::LayerNorm: layer normalisation as a plugin, by three ways through memory (attribute `stage`).
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bertie/plugin.h"
#include "stages.h"
#if defined(LAYER_NORM_CUDA)
#include "cuda_stages.h"
#endif

namespace {

using namespace bertie;

int64_t row_count(std::span<const int64_t> shape) {
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < shape.size(); ++axis) rows *= shape[axis];
  return rows;
}

std::vector<float> floats_of(const plugin::NodeView& node, size_t input, const char* name) {
  if (!node.is_constant(input)) plugin::refuse(std::string(name) + " is no constant");
  const float* data = node.constant<float>(input);
  return {data, data + node.shape(input)[0].size};
}

// What the stages share: gamma and beta, kept.
class LayerNormKernel : public plugin::Kernel {
 public:
  explicit LayerNormKernel(const plugin::NodeView& node)
      : gamma_(floats_of(node, 1, "gamma")),
        beta_(floats_of(node, 2, "beta")),
        epsilon_(static_cast<float>(node.real("epsilon"))) {}

  bool reads_constant(size_t index) const override { return index == 0; }
  size_t packed_bytes() const override { return (gamma_.size() + beta_.size()) * sizeof(float); }

 protected:
  layer_norm::Rows rows(const plugin::Run& run) const {
    return {run.input<void>(0),
            run.output<void>(0),
            run.input_dtype(0) == DType::f16,
            gamma_.data(),
            beta_.data(),
            static_cast<int64_t>(gamma_.size()),
            epsilon_};
  }

 private:
  std::vector<float> gamma_, beta_;
  float epsilon_;
};

class ThreePasses final : public LayerNormKernel {
 public:
  using LayerNormKernel::LayerNormKernel;
  // Two floats a row. A padded [batch, sequence, ...] tensor may have more rows than this: then they take turns.
  size_t workspace_bytes(const plugin::Limits& limits, int) const override {
    return 2 * sizeof(float) * static_cast<size_t>(std::max({limits.tokens, limits.sequences, limits.rows, int64_t{1}}));
  }
  void run(const plugin::Run& run) const override {
    const int64_t count = row_count(run.input_shape(0));
    const int64_t most = static_cast<int64_t>(run.workspace().size() / (2 * sizeof(float)));
    for (int64_t begin = 0; begin < count; begin += most) {
      layer_norm::normalise_in_three_passes(rows(run), begin, std::min(count, begin + most),
                                            reinterpret_cast<float*>(run.workspace().data()));
    }
  }
};

class RowByRow final : public LayerNormKernel {
 public:
  using LayerNormKernel::LayerNormKernel;
  void run(const plugin::Run& run) const override {
    layer_norm::normalise_row_by_row(rows(run), 0, row_count(run.input_shape(0)));
  }
};

class Vectors final : public LayerNormKernel {
 public:
  using LayerNormKernel::LayerNormKernel;
  void run(const plugin::Run& run) const override {
    const layer_norm::Rows all = rows(run);
    const int64_t count = row_count(run.input_shape(0));
    const int64_t piece = std::max<int64_t>(1, kPieceElements / all.extent);  // rows a task
    run.parallel_for((count + piece - 1) / piece,
                     [&](int64_t task, int) { stage_.run(all, task * piece, std::min(count, (task + 1) * piece)); });
  }

 private:
  static constexpr int64_t kPieceElements = 16384;  // far more work than handing a task out
  layer_norm::VectorStage stage_ = layer_norm::best_vector_stage();
};

#if defined(LAYER_NORM_CUDA)
// Gamma and beta are constants that bertie brings to the device, as it does every one that a kernel reads.
template <int stage>
class OnCuda final : public plugin::Kernel {
 public:
  explicit OnCuda(const plugin::NodeView& node)
      : extent_(node.shape(1)[0].size), epsilon_(static_cast<float>(node.real("epsilon"))) {
    for (size_t input : {1, 2}) {
      if (!node.is_constant(input)) plugin::refuse("gamma and beta are no constants");
    }
  }
  size_t workspace_bytes(const plugin::Limits& limits, int) const override {
    return stage > 1 ? 0 : 2 * sizeof(float) * static_cast<size_t>(std::max({limits.tokens, limits.sequences, limits.rows}));
  }
  void run(const plugin::Run& run) const override {
    const layer_norm::Rows rows{run.input<void>(0),
                                run.output<void>(0),
                                run.input_dtype(0) == DType::f16,
                                run.input<float>(1),
                                run.input<float>(2),
                                extent_,
                                epsilon_};
    const layer_norm::cuda::Queue queue{run.abi().device->index, run.stream()};
    const int64_t count = row_count(run.input_shape(0));
    if (stage == 2) layer_norm::cuda::normalise_in_one_kernel(rows, count, queue);
    if (stage == 3) layer_norm::cuda::normalise_in_registers(rows, count, queue);
    if (stage != 1 || count == 0) return;
    // As many rows at a time as the workspace has statistics for.
    const int64_t most = static_cast<int64_t>(run.workspace().size() / (2 * sizeof(float)));
    for (int64_t begin = 0; begin < count; begin += most) {
      layer_norm::Rows some = rows;
      some.x = run.input<float>(0) + begin * extent_;
      some.out = run.output<float>(0) + begin * extent_;
      layer_norm::cuda::normalise_in_several_kernels(some, std::min(most, count - begin),
                                                     reinterpret_cast<float*>(run.workspace().data()), queue);
    }
  }

 private:
  int64_t extent_;
  float epsilon_;
};
#endif

template <typename Kernel, int stage>
std::unique_ptr<plugin::Kernel> prepare(const plugin::NodeView& node, const plugin::Device&) {
  if (node.integer("stage") != stage) plugin::refuse("another stage is asked for");
  if (stage < 3 && node.dtype(0) != DType::f32) plugin::refuse("x of f32");
  return std::make_unique<Kernel>(node);
}

struct LayerNorm final : plugin::Op {
  LayerNorm() : Op("bertie.examples::LayerNorm", 1) {
    add_input("x");
    add_input("gamma");
    add_input("beta");
    add_attribute("epsilon", 1e-5);
    add_attribute("stage", int64_t{3});
    const std::string vectors = std::string("vectors_") + layer_norm::best_vector_stage().name;
    add_kernel("cpu", vectors, prepare<Vectors, 3>);
    add_kernel("cpu", "row_by_row", prepare<RowByRow, 2>);
    add_kernel("cpu", "three_passes", prepare<ThreePasses, 1>);
#if defined(LAYER_NORM_CUDA)
    add_kernel("cuda", "in_registers", prepare<OnCuda<3>, 3>);
    add_kernel("cuda", "one_kernel", prepare<OnCuda<2>, 2>);
    add_kernel("cuda", "several_kernels", prepare<OnCuda<1>, 1>);
#endif
  }

  void infer(const plugin::ShapeRule& rule) const override {
    const SymbolicShape shape = rule.shape(0);
    rule.require(!shape.empty() && shape.back().is_fixed() && shape.back().size > 0, "x [..., E] of a fixed E");
    rule.require(rule.dtype(0) == DType::f32 || rule.dtype(0) == DType::f16, "x of f32 or f16");
    for (size_t input : {1, 2}) {
      rule.require(rule.dtype(input) == DType::f32 && rule.shape(input) == SymbolicShape{shape.back()},
                   "gamma and beta of f32 [E]");
    }
    rule.require(rule.integer("stage") >= 1 && rule.integer("stage") <= 3, "stage 1, 2 or 3");
    rule.require(rule.real("epsilon") >= 0, "epsilon of 0 or more");
    rule.output(rule.dtype(0), shape);
  }

  bool row_wise(const plugin::NodeView&) const override { return true; }

  bool compose(const plugin::Composition& graph) const override {
    const auto elementwise = [&](const char* function, ValueId a, ValueId b) {
      return graph.add_node("elementwise", {a, b}, {{"function", std::string(function)}});
    };
    const auto mean = [&](ValueId x) {
      const int64_t last = -1;
      return graph.add_node("reduce", {x, graph.add_integers({&last, 1})},
                            {{"function", std::string("mean")}, {"keep_dims", int64_t{1}}});
    };
    if (graph.dtype(0) != DType::f32) return false;  // the results of bertie's own ops are f32
    const ValueId x = graph.input(0);
    const ValueId centred = elementwise("sub", x, mean(x));
    const ValueId variance = mean(elementwise("mul", centred, centred));
    const ValueId epsilon = graph.add_scalar(static_cast<float>(graph.real("epsilon")));
    const ValueId deviation =
        graph.add_node("unary", {elementwise("add", variance, epsilon)}, {{"function", std::string("sqrt")}});
    const ValueId scaled = elementwise("mul", elementwise("div", centred, deviation), graph.input(1));
    graph.output(elementwise("add", scaled, graph.input(2)));
    return true;
  }
};

}  // namespace

BERTIE_PLUGIN("layer_norm", "1.0", LayerNorm)
