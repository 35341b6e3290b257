// A network as JSON, for engine files: inputs, constants, nodes in order and outputs, values numbered in this order. The bytes
// of constants lie elsewhere.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bertie/network.h"

namespace bertie {

// `tensor` gives the number under which a constant's bytes are kept. What nothing reads is left out.
nlohmann::json network_to_json(const Network& network, const std::function<size_t(ValueId)>& tensor);

// `file` names the source in errors, `tensors` are what the constants' numbers stand for. The shape rules run again and must
// agree with what was written. Throws Error(invalid_file), and Error(unsupported) naming an op or plugin that is not there.
Network network_from_json(const nlohmann::json& json, const std::string& file, std::span<const Tensor> tensors);

}  // namespace bertie
