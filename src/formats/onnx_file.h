// An ONNX file as plain structs: every size, count and path in it has been checked, nothing of what its graph means has.
// The format: https://github.com/onnx/onnx/blob/main/docs/IR.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bertie/tensor.h"

namespace bertie::onnx {

struct Graph;

struct Attribute {
  std::string name;
  std::string reference;  // the enclosing function's attribute that it stands for; empty: `value` holds
  // monostate: a kind that bertie does not read, named by `kind`
  std::variant<std::monostate, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>, std::vector<std::string>,
               Tensor, std::shared_ptr<const Graph>>
      value;
  std::string kind;  // "INT", "GRAPHS", ...
};

struct Node {
  std::string name;  // may be empty
  std::string op;
  std::string domain;                // "" is ONNX's own, also where the file says "ai.onnx"
  std::string overload;              // of a function
  std::vector<std::string> inputs;   // an empty name: left out
  std::vector<std::string> outputs;  // an empty name: not wanted
  std::vector<Attribute> attributes;
};

// An extent as the file states it: a number, a name, or neither.
struct Extent {
  std::optional<int64_t> size;
  std::string symbol;
};

struct ValueInfo {
  std::string name;
  std::optional<DType> dtype;                // nothing: not stated, or a type that bertie lacks, named by `type`
  std::string type;                          // "FLOAT", "STRING", "a sequence"; empty where the file states none
  std::optional<std::vector<Extent>> shape;  // nothing: not stated
};

struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::map<std::string, Tensor, std::less<>> initializers;
  std::vector<ValueInfo> inputs;  // without those that initializers give a value
  std::vector<ValueInfo> outputs;
  std::vector<ValueInfo> values;  // of values in between, where stated
};

using OpsetImports = std::map<std::string, int64_t, std::less<>>;  // domain -> version

struct Function {
  std::string domain, name, overload;
  std::vector<std::string> inputs, outputs;
  std::vector<std::string> attributes;  // those without a default
  std::vector<Attribute> defaults;
  std::vector<Node> nodes;
  OpsetImports opsets;
};

struct Model {
  std::string file;  // for errors
  int64_t ir_version = 0;
  std::string producer;  // "pytorch 2.9.1"
  OpsetImports opsets;
  std::map<std::string, std::string> metadata;
  Graph graph;
  std::vector<Function> functions;
  std::vector<std::string> external_files;  // locations in the file's folder
};

// `bytes` is a whole file, `file` names it in errors, `folder` is where external data may lie (nothing: it is refused).
// Throws Error(invalid_file) unless everything checks out, Error(unsupported) naming an element type or a kind of tensor that
// bertie does not read. Nothing of `bytes` is referred to afterwards.
Model parse_onnx(std::span<const std::byte> bytes, const std::string& file, const std::optional<std::string>& folder);

// Weights in the file are held once; those in external data files stay mapped. Throws Error(not_found, io) too.
Model read_onnx(const std::string& path);

// ONNX's number of an element type, as TypeProto and the Cast op spell it.
std::optional<DType> dtype_of_number(int64_t number);
int64_t number_of_dtype(DType dtype);
// "FLOAT", "INT4", or "type 99".
std::string type_name(int64_t number);

}  // namespace bertie::onnx
