// Takes out what no wanted output needs.
#include "passes/pass.h"

namespace bertie {

void remove_dead_nodes(Network& network, const PassOptions&, PassLog& log) {
  const size_t removed = network.remove_dead_nodes();
  if (removed > 0) log.matched("{} nodes that no wanted output reads", removed);
}

}  // namespace bertie
