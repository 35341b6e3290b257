// ONNX's TensorProto to a Tensor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "bertie/tensor.h"
#include "formats/onnx.pb.h"

namespace bertie::onnx {

// Reads the tensors of one file; external data files are mapped once and only from inside the model's folder.
class TensorReader {
 public:
  TensorReader(std::string file, std::optional<std::string> folder) : file_(std::move(file)), folder_(std::move(folder)) {}

  // Takes the bytes out of `proto`; `what` names the tensor in errors: "initializer 'w'".
  Tensor read(onnx_proto::TensorProto& proto, const std::string& what);
  std::vector<std::string> external_files() const;  // their locations in the model's folder, that were read

 private:
  Tensor read_external(const onnx_proto::TensorProto& proto, Tensor tensor, const std::string& what);
  std::shared_ptr<const MappedFile> open_external(const std::string& location, const std::string& what);

  std::string file_;
  std::optional<std::string> folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>, std::less<>> mapped_;
};

}  // namespace bertie::onnx
