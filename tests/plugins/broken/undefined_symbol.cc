// Needs a function that nobody has.
#include "bertie/plugin.h"

extern "C" void nobody_has_this_function();

namespace {
struct Op : bertie::plugin::Op {
  Op() : bertie::plugin::Op("test.broken::Op", 1) { nobody_has_this_function(); }
  void infer(const bertie::plugin::ShapeRule&) const override {}
};
}  // namespace

BERTIE_PLUGIN("undefined", "1", Op)
