// Rows that nothing reads but linear layers in bfloat16 may be kept in bfloat16: their readers round them so anyway, so that no bit of any
// result changes. Said of the op that makes them (attribute `rows`); a kernel that cannot, or a run of padded steps, keeps floats.
#include "passes/pass.h"

namespace bertie {
void keep_bf16_rows(Network& network, const PassOptions& options, PassLog& log) {
  if (!options.is_linear_only("bf16")) return;  // the device says how rows lie
  std::vector<std::string> kept;
  for (const NodeId id : network.order()) {
    Node& node = network.mutable_node(id);
    const auto computes_in_bf16 = [](const Node& of) { return is_linear_in(of, "bf16"); };
    if (!computes_in_bf16(node) || !is_read_alone_by(network, node.outputs[0], 0, computes_in_bf16)) continue;
    node.attributes["rows"] = std::string("bf16");
    kept.push_back(node.name);
  }
  log.matched_each("rows in bfloat16", kept);
}

}  // namespace bertie
