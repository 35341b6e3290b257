#include "cuda/peak.h"

#include <algorithm>
#include <random>

#include "cuda/step.h"

namespace bertie::cuda {
namespace {

constexpr int64_t kExtent = 8192;  // of square matrices
constexpr size_t kCopied = size_t{1} << 30, kWorkspace = size_t{32} << 20;
constexpr int kRounds = 6;  // the first ones warm up

// The shortest of a few, by events.
template <typename Work>
double shortest_seconds(Stream& stream, Work work) {
  const auto timeline = stream.make_timeline(kRounds + 1);
  stream.mark(*timeline, 0);
  for (size_t round = 0; round < kRounds; ++round) {
    work();
    stream.mark(*timeline, round + 1);
  }
  stream.synchronize();
  double best = timeline->milliseconds(1, 2);
  for (size_t round = 2; round < kRounds; ++round) best = std::min(best, timeline->milliseconds(round, round + 1));
  return best * 1e-3;
}

// Numbers, as power and so the clock depend on what is multiplied: zeros would flatter.
std::vector<float> random_values() {
  std::minstd_rand random(1);
  std::vector<float> values(size_t{1} << 20);
  for (float& value : values) value = static_cast<float>(random() % 2001) * 1e-3f - 1;
  return values;
}

}  // namespace

double measure_flops(CudaDevice& device, DType element, bool tf32) {
  constexpr const char* kPurpose = "measuring its peak";
  const size_t bytes = static_cast<size_t>(kExtent * kExtent) * dtype_size(element);
  const auto own = device.shared_from_this();
  const DeviceBuffer a(own, bytes, kPurpose), b(own, bytes, kPurpose), d(own, bytes, kPurpose),
      workspace(own, kWorkspace, kPurpose);
  const std::vector<float> values = random_values();
  const auto tile = device.upload(Tensor::from_floats({static_cast<int64_t>(values.size())}, values), element);
  const auto stream = device.make_stream();
  for (size_t at = 0; at < bytes; at += tile->bytes()) {
    stream->copy(a.data() + at, tile->data(), tile->bytes());
    stream->copy(b.data() + at, tile->data(), tile->bytes());
  }
  BertieCudaProduct product{};
  product.element = product.result = static_cast<int32_t>(element_of(element));
  product.tf32 = tf32;
  product.transposed = 1;
  product.batch = 1;
  product.m = product.n = product.k = kExtent;
  BertieCudaOperands operands{};
  operands.a = a.data();
  operands.b = b.data();
  operands.d = d.data();
  operands.workspace = workspace.data();
  operands.workspace_bytes = kWorkspace;
  const double seconds = shortest_seconds(*stream, [&] {
    device.check(device.api().run_product(device.index(), &product, &operands, stream->handle()), "a matrix product");
  });
  return 2.0 * kExtent * kExtent * kExtent / seconds;
}

double measure_bandwidth(CudaDevice& device) {
  const auto own = device.shared_from_this();
  const DeviceBuffer from(own, kCopied, "measuring its memory"), to(own, kCopied, "measuring its memory");
  const auto stream = device.make_stream();
  stream->fill(from.data(), 1, kCopied);
  return 2.0 * static_cast<double>(kCopied) / shortest_seconds(*stream, [&] { stream->copy(to.data(), from.data(), kCopied); });
}

}  // namespace bertie::cuda
