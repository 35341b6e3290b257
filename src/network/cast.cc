// `to` is a dtype's name. Floats of any width are f32 here: casting between them changes nothing.
#include "network/op.h"

namespace bertie {

std::optional<DType> dtype_named(std::string_view name) {
  for (DType dtype :
       {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i8, DType::u8, DType::i32, DType::i64, DType::boolean}) {
    if (dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

const OpDescriptor& cast_op() {
  static const OpDescriptor op{"cast", 1, {"x"}, {"to"}, [](OpContext& context) {
                                 const auto to = dtype_named(context.node().text("to"));
                                 if (!to) context.reject(fmt::format("a dtype, not '{}'", context.node().text("to")));
                                 context.output(is_float(*to) ? DType::f32 : *to, context.shape(0),
                                                is_index(*to) ? context.elements(0) : std::nullopt);
                               }};
  return op;
}

ValueId Network::add_cast(ValueId x, DType to, std::string name) {
  return add_node("cast", {x}, {{"to", std::string(dtype_name(to))}}, std::move(name))[0];
}

}  // namespace bertie
