#include "engine/expand_plugins.h"

#include "base/log.h"
#include "network/plugin_compose.h"
#include "network/plugin_registry.h"

namespace bertie {

void expand_plugins(Network& network, KernelChooser& chooser, bool compositions_first) {
  bool expanded = false;
  for (NodeId id : network.order()) {
    const PluginOp* op = find_plugin_op(network.node(id).op);
    if (!op) continue;
    std::string refusals;
    // Beside a device the composition runs there, and is preferred to a kernel on the CPU.
    const auto choice = compositions_first ? std::nullopt : chooser.find(network.node(id), refusals);
    if (choice && (choice->on_device || !chooser.has_device())) continue;
    const auto outputs = compose_plugin(network, id);
    if (!outputs) {
      chooser.choose(network.node(id));  // throws where there is no kernel either
      continue;
    }
    const Node node = network.node(id);
    log(LogLevel::info, "{} '{}' of plugin {} runs as its composition: {}", node.op, node.name, op->plugin,
        compositions_first ? "the reference device"
        : refusals.empty() ? "it has no kernel for this device"
                           : refusals);
    for (size_t i = 0; i < node.outputs.size(); ++i) network.replace_uses(node.outputs[i], (*outputs)[i]);
    network.erase_node(id);
    expanded = true;
  }
  if (!expanded) return;
  network.remove_dead_nodes();
  network.verify();
}

}  // namespace bertie
