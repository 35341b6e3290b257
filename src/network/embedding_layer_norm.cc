// Fused: layer_norm((embedding(word, ids) + embedding(type, types)) + embedding(position, positions)).
#include "network/quantized_output.h"

namespace bertie {

const OpDescriptor& embedding_layer_norm_op() {
  static const OpDescriptor op{
      "embedding_layer_norm",
      8,
      {"ids", "types", "positions", "word_table", "type_table", "position_table", "gamma", "beta", "quantization"},
      {"epsilon", "quantize_output", "quantize_element"},
      [](OpContext& context) {
        context.require_index(0);
        context.require_float(3);
        context.require_rank(3, 2);
        const Dim& extent = context.shape(3)[1];
        for (size_t ids : {1, 2}) {
          const size_t table = ids + 3;
          context.require(context.has(ids) == context.has(table), "ids and their table, both or neither");
          if (!context.has(ids)) continue;
          context.require_index(ids);
          context.require(context.shape(ids) == context.shape(0), "ids, types and positions of one shape");
          context.require_float(table);
          context.require_rank(table, 2);
          context.require(context.shape(table)[1] == extent, "tables of one width");
        }
        context.require_vector(6, extent);
        context.require_vector(7, extent);
        SymbolicShape shape = context.shape(0);
        shape.push_back(extent);
        output_rows(context, shape);
      }};
  return op;
}

}  // namespace bertie
