// A plugin's op laid down from ops of the vocabulary.
#pragma once

#include <optional>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// Adds the composition of a plugin's node to the network and gives what takes the place of the node's outputs; the node itself
// stays. nullopt where the plugin has none. Throws Error(plugin_failed) where it fails, or its results are not the node's.
std::optional<std::vector<ValueId>> compose_plugin(Network& network, NodeId id);

}  // namespace bertie
