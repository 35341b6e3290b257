// Runs ONNX files op by op on the reference kernels, for the tests of this folder: many cases in one process.
//
// Each line of stdin names a folder that holds model.onnx and input_0.npy, input_1.npy, ... in the order of the graph's inputs. Its
// outputs become output_0.npy, ... there. One line a case goes to stdout: "ok", or "CODE: what was wrong".
#include <cstring>
#include <iostream>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "base/float16.h"
#include "formats/npy.h"
#include "models/onnx_import.h"
#include "reference/evaluate.h"

namespace bertie {
namespace {

// NumPy has no bfloat16: such an input comes as float32.
Tensor as_declared(const Tensor& given, DType dtype) {
  if (dtype != DType::bf16 || given.dtype != DType::f32) return given;
  const auto count = static_cast<size_t>(given.shape.elements());
  std::shared_ptr<uint16_t[]> halves(new uint16_t[count]);
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, given.view().as<float>() + i, sizeof bits);
    halves[i] = static_cast<uint16_t>(bits >> 16);
  }
  return {DType::bf16, given.shape, std::shared_ptr<const void>(halves, halves.get())};
}

void run(const std::string& folder) {
  const Network network = models::import_onnx(onnx::read_onnx(folder + "/model.onnx"));
  std::map<ValueId, Tensor> inputs;
  for (size_t i = 0; i < network.inputs().size(); ++i) {
    const ValueId input = network.inputs()[i];
    inputs[input] = as_declared(read_npy(fmt::format("{}/input_{}.npy", folder, i)), network.value(input).dtype);
  }
  std::vector<ValueId> wanted;
  for (const Network::Output& output : network.outputs()) wanted.push_back(output.value);
  const std::vector<Tensor> results = evaluate(network, wanted, inputs);
  for (size_t i = 0; i < results.size(); ++i) write_npy(fmt::format("{}/output_{}.npy", folder, i), results[i].view());
}

std::string_view code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::invalid_file: return "invalid_file";
    case ErrorCode::not_found: return "not_found";
    default: return "error";
  }
}

}  // namespace
}  // namespace bertie

int main() {
  std::string folder;
  while (std::getline(std::cin, folder)) {
    try {
      bertie::run(folder);
      std::cout << "ok" << std::endl;
    } catch (const bertie::Error& error) {
      std::cout << bertie::code_name(error.code()) << ": " << error.what() << std::endl;
    }
  }
  return 0;
}
