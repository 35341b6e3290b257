// Its op has the name of another plugin's.
#include "bertie/plugin.h"

namespace {
struct LayerNorm : bertie::plugin::Op {
  LayerNorm() : Op("bertie.examples::LayerNorm", 1) { add_input("x"); }
  void infer(const bertie::plugin::ShapeRule& rule) const override { rule.output(rule.dtype(0), rule.shape(0)); }
};
}  // namespace

BERTIE_PLUGIN("imitation", "2", LayerNorm)
