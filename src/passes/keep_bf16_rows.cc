// Rows that nothing reads but linear layers in bfloat16 may be kept in bfloat16: their readers round them so anyway, so that no bit of any
// result changes. Said of the op that makes them (attribute `rows`); a kernel that cannot, or a run of padded steps, keeps floats.
#include <algorithm>

#include "passes/pass.h"

namespace bertie {
void keep_bf16_rows(Network& network, const PassOptions& options, PassLog& log) {
  if (!options.is_linear_only("bf16")) return;  // the device says how rows lie
  std::vector<std::string> kept;
  for (const NodeId id : network.order()) {
    Node& node = network.mutable_node(id);
    const ValueId rows = node.outputs[0];
    if (!is_linear_in(node, "bf16") || is_output(network, rows)) continue;
    const std::vector<NodeId> readers = network.consumers(rows);
    const auto reads_rows = [&](NodeId reader) {
      const Node& by = network.node(reader);
      return is_linear_in(by, "bf16") && std::count(by.inputs.begin(), by.inputs.end(), rows) == 1 && by.input(0) == rows;
    };
    if (readers.empty() || !std::all_of(readers.begin(), readers.end(), reads_rows)) continue;
    node.attributes["rows"] = std::string("bf16");
    kept.push_back(node.name);
  }
  log.matched_each("rows in bfloat16", kept);
}

}  // namespace bertie
