#include "formats/onnx_write.h"

#include <filesystem>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "formats/onnx.pb.h"

namespace bertie::onnx {
namespace {

constexpr int kGraphField = 7;        // of ModelProto
constexpr int kInitializerField = 5;  // of GraphProto
constexpr int kRawDataField = 9;      // of TensorProto
constexpr uint64_t kPage = 4096;
constexpr size_t kSmall = 1024;  // tensors below it stay in the model: shapes, which loaders want to read at once

void fill(onnx_proto::TensorProto& proto, const Tensor& tensor) {
  for (int64_t extent : tensor.shape) proto.add_dims(extent);
  proto.set_data_type(static_cast<int32_t>(number_of_dtype(tensor.dtype)));
}

void fill(onnx_proto::AttributeProto& proto, const Attribute& attribute) {
  using Proto = onnx_proto::AttributeProto;
  proto.set_name(attribute.name);
  if (!attribute.reference.empty()) proto.set_ref_attr_name(attribute.reference);
  std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, int64_t>) {
          proto.set_type(Proto::INT);
          proto.set_i(value);
        } else if constexpr (std::is_same_v<T, double>) {
          proto.set_type(Proto::FLOAT);
          proto.set_f(static_cast<float>(value));
        } else if constexpr (std::is_same_v<T, std::string>) {
          proto.set_type(Proto::STRING);
          proto.set_s(value);
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          proto.set_type(Proto::INTS);
          for (int64_t number : value) proto.add_ints(number);
        } else if constexpr (std::is_same_v<T, std::vector<double>>) {
          proto.set_type(Proto::FLOATS);
          for (double number : value) proto.add_floats(static_cast<float>(number));
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          proto.set_type(Proto::STRINGS);
          for (const std::string& text : value) proto.add_strings(text);
        } else if constexpr (std::is_same_v<T, Tensor>) {
          proto.set_type(Proto::TENSOR);
          fill(*proto.mutable_t(), value);
          proto.mutable_t()->set_raw_data(value.data.get(), value.bytes());
        } else {
          fail(ErrorCode::unsupported, "ONNX attribute '{}': its kind {} is not written", attribute.name, attribute.kind);
        }
      },
      attribute.value);
}

void fill(onnx_proto::NodeProto& proto, const Node& node) {
  proto.set_name(node.name);
  proto.set_op_type(node.op);
  if (!node.domain.empty()) proto.set_domain(node.domain);
  for (const std::string& input : node.inputs) proto.add_input(input);
  for (const std::string& output : node.outputs) proto.add_output(output);
  for (const Attribute& attribute : node.attributes) fill(*proto.add_attribute(), attribute);
}

void fill(onnx_proto::ValueInfoProto& proto, const ValueInfo& info) {
  proto.set_name(info.name);
  auto& tensor = *proto.mutable_type()->mutable_tensor_type();
  if (info.dtype) tensor.set_elem_type(static_cast<int32_t>(number_of_dtype(*info.dtype)));
  if (!info.shape) return;
  auto& shape = *tensor.mutable_shape();
  for (const Extent& extent : *info.shape) {
    auto& dim = *shape.add_dim();
    if (extent.size)
      dim.set_dim_value(*extent.size);
    else if (!extent.symbol.empty())
      dim.set_dim_param(extent.symbol);
  }
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// What stands before the `length` bytes of a message or of a bytes field.
std::string field_head(int field, uint64_t length) {
  std::string head;
  append_varint(head, static_cast<uint64_t>(field) << 3 | 2);
  append_varint(head, length);
  return head;
}

std::string serialized(const google::protobuf::MessageLite& message) {
  std::string bytes;
  message.SerializeToString(&bytes);
  return bytes;
}

// The file in order; weights are referred to, not copied.
class Pieces {
 public:
  void add(std::string text) {
    size_ += text.size();
    pieces_.push_back({std::move(text), {}});
  }
  void add(const Tensor& tensor) {
    size_ += tensor.bytes();
    pieces_.push_back({{}, tensor});
  }
  void add(Pieces&& others) {
    size_ += others.size_;
    for (Piece& piece : others.pieces_) pieces_.push_back(std::move(piece));
  }
  uint64_t size() const { return size_; }

  template <typename Write>  // void(std::span<const std::byte>)
  void for_each(Write write) const {
    for (const Piece& piece : pieces_) {
      if (!piece.text.empty()) write(std::as_bytes(std::span(piece.text)));
      if (piece.tensor.bytes() > 0) write(bytes_of(piece.tensor));
    }
  }
  static std::span<const std::byte> bytes_of(const Tensor& tensor) {
    return {static_cast<const std::byte*>(tensor.data.get()), tensor.data ? tensor.bytes() : 0};
  }

 private:
  struct Piece {
    std::string text;
    Tensor tensor{DType::u8, Shape{0}, nullptr};
  };
  std::vector<Piece> pieces_;
  uint64_t size_ = 0;
};

void add_entry(onnx_proto::TensorProto& proto, const char* key, std::string value) {
  auto& entry = *proto.add_external_data();
  entry.set_key(key);
  entry.set_value(std::move(value));
}

// Walks the tensors that an external data file holds, with their places in it.
template <typename Visit>  // void(const std::string& name, const Tensor&, uint64_t offset)
void for_each_external(const Graph& graph, Visit visit) {
  uint64_t offset = 0;
  for (const auto& [name, tensor] : graph.initializers) {
    if (tensor.bytes() < kSmall) continue;
    visit(name, tensor, offset);
    offset += (tensor.bytes() + kPage - 1) / kPage * kPage;
  }
}

// A field of GraphProto. With an `offset` the bytes lie there in `data_file`.
Pieces initializer_pieces(const std::string& name, const Tensor& tensor, const std::string& data_file,
                          std::optional<uint64_t> offset) {
  onnx_proto::TensorProto proto;
  fill(proto, tensor);
  proto.set_name(name);
  Pieces content;
  if (offset) {
    proto.set_data_location(onnx_proto::TensorProto::EXTERNAL);
    add_entry(proto, "location", data_file);
    add_entry(proto, "offset", std::to_string(*offset));
    add_entry(proto, "length", std::to_string(tensor.bytes()));
    content.add(serialized(proto));
  } else {
    content.add(serialized(proto) + field_head(kRawDataField, tensor.bytes()));
    content.add(tensor);
  }
  Pieces field;
  field.add(field_head(kInitializerField, content.size()));
  field.add(std::move(content));
  return field;
}

Pieces graph_pieces(const Graph& graph, const std::string& data_file) {
  onnx_proto::GraphProto proto;
  proto.set_name(graph.name);
  for (const Node& node : graph.nodes) fill(*proto.add_node(), node);
  for (const ValueInfo& input : graph.inputs) fill(*proto.add_input(), input);
  for (const ValueInfo& output : graph.outputs) fill(*proto.add_output(), output);
  for (const ValueInfo& value : graph.values) fill(*proto.add_value_info(), value);
  Pieces pieces;
  pieces.add(serialized(proto));
  std::map<std::string_view, uint64_t> offsets;
  if (!data_file.empty()) {
    for_each_external(graph, [&](const std::string& name, const Tensor&, uint64_t offset) { offsets[name] = offset; });
  }
  for (const auto& [name, tensor] : graph.initializers) {
    const auto external = offsets.find(name);
    pieces.add(
        initializer_pieces(name, tensor, data_file, external == offsets.end() ? std::nullopt : std::optional(external->second)));
  }
  return pieces;
}

Pieces model_pieces(const Model& model, const std::string& data_file) {
  onnx_proto::ModelProto proto;
  proto.set_ir_version(model.ir_version);
  proto.set_producer_name(model.producer);
  for (const auto& [domain, version] : model.opsets) {
    auto& import = *proto.add_opset_import();
    import.set_domain(domain);
    import.set_version(version);
  }
  for (const auto& [key, value] : model.metadata) {
    auto& entry = *proto.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  Pieces graph = graph_pieces(model.graph, data_file);
  Pieces pieces;
  pieces.add(serialized(proto) + field_head(kGraphField, graph.size()));
  pieces.add(std::move(graph));
  if (pieces.size() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    fail(ErrorCode::unsupported, "{}: an ONNX file of {} bytes passes protobuf's 2 GiB", model.file, pieces.size());
  }
  return pieces;
}

void write_data(const Graph& graph, const std::string& path) {
  AtomicFile file(path);
  for_each_external(
      graph, [&](const std::string&, const Tensor& tensor, uint64_t offset) { file.write_at(offset, Pieces::bytes_of(tensor)); });
  file.commit();
}

}  // namespace

std::string format_onnx(const Model& model) {
  std::string bytes;
  model_pieces(model, "").for_each(
      [&](std::span<const std::byte> piece) { bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size()); });
  return bytes;
}

void write_onnx(const Model& model, const std::string& path, int64_t largest_inline) {
  uint64_t weights = 0;
  for (const auto& [name, tensor] : model.graph.initializers) weights += tensor.bytes();
  const bool external = weights > static_cast<uint64_t>(largest_inline);
  const std::string data_path = path + ".data";
  const std::string data_file = external ? std::filesystem::path(data_path).filename().string() : "";
  const Pieces pieces = model_pieces(model, data_file);
  AtomicFile file(path);
  if (external) write_data(model.graph, data_path);
  uint64_t offset = 0;
  pieces.for_each([&](std::span<const std::byte> piece) {
    file.write_at(offset, piece);
    offset += piece.size();
  });
  file.commit();
}

}  // namespace bertie::onnx
