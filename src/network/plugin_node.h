// A node in the form in which plugins see it, and how their answers become errors.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bertie/plugin.h"
#include "network/plugin_registry.h"

namespace bertie {

class PluginNode {
 public:
  // Refers to node and values; one that is left out is nullptr. `outputs` is empty while they are not known.
  PluginNode(const Node& node, std::span<const Value* const> inputs, std::span<const Value* const> outputs);
  // Of a network's node, its outputs too.
  PluginNode(const Network& network, const Node& node);
  PluginNode(const PluginNode&) = delete;
  PluginNode& operator=(const PluginNode&) = delete;

  const BertieNode& abi() const { return abi_; }

 private:
  BertieValue describe(const Value& value);

  std::vector<BertieValue> inputs_, outputs_;
  std::vector<std::vector<BertieDim>> shapes_;
  std::vector<std::vector<int64_t>> elements_;
  std::vector<BertieAttribute> attributes_;
  BertieNode abi_ = {};
};

// Where a plugin's function leaves its sentence; read as one line.
class PluginText {
 public:
  PluginText() : abi_{this, append} {}
  PluginText(const PluginText&) = delete;
  PluginText& operator=(const PluginText&) = delete;

  const BertieText& abi() const { return abi_; }
  std::string line() const;  // "no reason given" where there is none
  bool said() const { return !text_.empty(); }

 private:
  static void append(void* target, const char* text, size_t length) noexcept;
  std::string text_;
  BertieText abi_;
};

// Throws Error(plugin_failed): plugin, op, node, and what it was doing.
[[noreturn]] void fail_plugin(const PluginOp& op, std::string_view node, std::string_view doing, std::string_view text);

// An extent as a plugin states it; `unknown` stands for one that only the run can tell.
Dim to_dim(const BertieDim& dim, const Dim& unknown);

Attribute to_attribute(const BertieAttribute& attribute);

}  // namespace bertie
