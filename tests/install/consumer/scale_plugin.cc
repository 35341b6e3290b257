// The plugin of docs/design/plugins.md.
#include <bertie/plugin.h>
using namespace bertie;

struct ScaleKernel : plugin::Kernel {
  explicit ScaleKernel(float factor) : factor(factor) {}
  void run(const plugin::Run& run) const override {  // x is [rows, width] here
    const int64_t rows = run.input_shape(0)[0], width = run.input_shape(0)[1];
    run.parallel_for(rows, [&](int64_t row, int /*worker*/) {
      for (int64_t i = row * width; i < (row + 1) * width; ++i) run.output<float>(0)[i] = factor * run.input<float>(0)[i];
    });
  }
  float factor;
};

struct Scale : plugin::Op {
  Scale() : Op("my.domain::Scale", 1) {
    add_input("x");
    add_attribute("factor", 1.0);
    add_kernel("cpu", "scale_plain", [](const plugin::NodeView& node, const plugin::Device&) -> std::unique_ptr<plugin::Kernel> {
      if (node.shape(0).size() != 2) plugin::refuse("x of rank 2");  // the next kernel is asked, then the composition
      return std::make_unique<ScaleKernel>(static_cast<float>(node.real("factor")));
    });
  }
  void infer(const plugin::ShapeRule& rule) const override {
    rule.require(rule.dtype(0) == DType::f32, "x of f32");
    rule.output(DType::f32, rule.shape(0));
  }
  bool row_wise(const plugin::NodeView&) const override { return true; }
  bool compose(const plugin::Composition& graph) const override {
    const ValueId factor = graph.add_scalar(static_cast<float>(graph.real("factor")));
    graph.output(graph.add_node("elementwise", {graph.input(0), factor}, {{"function", std::string("mul")}}));
    return true;
  }
};

BERTIE_PLUGIN("scale", "1.0", Scale)
