// The first bytes of a file that claims to be a plugin, and a description whose fields are anything: both are looked at before a
// library's code is trusted.
#include <array>
#include <cstring>
#include <stdexcept>

#include "base/bytes_fuzz.h"
#include "base/error.h"
#include "bertie/plugin.h"
#include "network/plugin_check.h"
#include "network/plugin_library.h"

namespace {

using bertie::Bytes;

int32_t infer(void*, const BertieNode*, const BertieShapes*, const BertieText*) { return BERTIE_FAILED; }
int32_t prepare(void*, const BertieNode*, const BertieDevice*, void**, const BertieText*) { return BERTIE_REFUSED; }
void release(void*) {}
int32_t run(const void*, const BertieRun*, const BertieText*) { return BERTIE_FAILED; }

constexpr std::array<const char*, 8> kTexts = {"a", "b", "c", "x::y", "::", "", " ", nullptr};
constexpr std::array<int64_t, 8> kCounts = {0, 1, 2, 2, -1, 1025, INT64_MAX, INT64_MIN};

void check_description(Bytes bytes) {
  // Two of everything: larger counts must be refused before what they would reach is read.
  const std::array<int64_t, 2> lists = {};
  const std::array<double, 2> reals = {};
  std::array<BertieAttribute, 2> attributes = {};
  std::array<BertieKernel, 2> kernels = {};
  std::array<const BertieKernel*, 2> kernel_list = {};
  std::array<const char*, 2> inputs = {};
  std::array<BertieOp, 2> ops = {};
  std::array<const BertieOp*, 2> op_list = {};
  for (size_t i = 0; i < 2; ++i) {
    attributes[i].name = bytes.choose(kTexts);
    attributes[i].type = bytes.take<int8_t>();
    attributes[i].required = bytes.take<uint8_t>() % 2;
    attributes[i].count = bytes.choose(kCounts);
    attributes[i].text = bytes.choose(kTexts);
    attributes[i].integers = bytes.choose(std::array<const int64_t*, 2>{lists.data(), nullptr});
    attributes[i].reals = bytes.choose(std::array<const double*, 2>{reals.data(), nullptr});
    inputs[i] = bytes.choose(kTexts);
    kernels[i] = {bytes.choose(std::array<uint32_t, 3>{sizeof(BertieKernel), sizeof(BertieKernel), 0}),
                  bytes.choose(kTexts),
                  bytes.choose(kTexts),
                  nullptr,
                  bytes.take<uint8_t>() % 8 ? prepare : nullptr,
                  bytes.take<uint8_t>() % 8 ? release : nullptr,
                  nullptr,
                  nullptr,
                  nullptr,
                  bytes.take<uint8_t>() % 8 ? run : nullptr};
    kernel_list[i] = bytes.take<uint8_t>() % 8 ? &kernels[i] : nullptr;
  }
  for (size_t i = 0; i < 2; ++i) {
    BertieOp& op = ops[i];
    op.size = bytes.choose(std::array<uint32_t, 3>{sizeof(BertieOp), sizeof(BertieOp), 7});
    op.name = bytes.choose(std::array<const char*, 4>{"x::y", "x::z", "x", nullptr});
    op.version = bytes.take<int8_t>();
    op.variadic = bytes.take<uint8_t>() % 2;
    op.required_inputs = bytes.choose(kCounts);
    op.input_count = bytes.choose(kCounts);
    op.inputs = bytes.take<uint8_t>() % 8 ? inputs.data() : nullptr;
    op.attribute_count = bytes.choose(kCounts);
    op.attributes = bytes.take<uint8_t>() % 8 ? attributes.data() : nullptr;
    op.kernel_count = bytes.choose(kCounts);
    op.kernels = bytes.take<uint8_t>() % 8 ? kernel_list.data() : nullptr;
    op.infer = bytes.take<uint8_t>() % 8 ? infer : nullptr;
    op_list[i] = bytes.take<uint8_t>() % 8 ? &op : nullptr;
  }
  BertiePlugin plugin = {BERTIE_PLUGIN_ABI, sizeof(BertiePlugin),  bytes.choose(kTexts), bytes.choose(kTexts),
                         nullptr,           bytes.choose(kCounts), op_list.data()};
  const std::string fault = bertie::description_fault(plugin);
  if (fault.find('\n') != std::string::npos) throw std::logic_error("more than a line");
  // Not registered: what one input names would be taken for the next.
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)bertie::library_fault(bytes, bytes);
  (void)bertie::library_fault(bytes, bytes.first(size / 2));
  check_description(Bytes(data, size));
  return 0;
}
