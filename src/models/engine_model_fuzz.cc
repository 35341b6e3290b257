// Any bytes as an engine file: an Error, or a model all of whose constants can be read. The checksums are made valid first, or
// else nothing behind them would ever be reached; one input in four is taken as it is.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bertie/base.h"
#include "formats/engine_file.h"
#include "models/engine_model.h"

namespace {

void store(uint8_t* at, uint64_t value) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t load(const uint8_t* at) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | at[i];
  return value;
}

// Seals each section that lies within the file, then the header.
void make_checksums_valid(uint8_t* data, size_t size, bertie::ThreadPool& pool) {
  using namespace bertie;
  constexpr size_t kEntry = 64, kChecksumAt = 40;
  const auto bytes = std::as_bytes(std::span(data, size));
  if (size < kEngineFileHeader) return;
  const uint64_t sections = load(data + 24) & 0xff, header = load(data + 32);
  for (uint64_t i = 0; i < sections && kEngineFileHeader + kEntry * (i + 1) <= size; ++i) {
    uint8_t* entry = data + kEngineFileHeader + kEntry * i;
    const uint64_t offset = load(entry + 24), length = load(entry + 32);
    if (offset > size || length > size - offset) continue;
    const uint64_t padded = (length + kEngineFilePage - 1) / kEngineFilePage * kEngineFilePage;
    if (padded > size - offset) continue;
    store(entry + 40, engine_file_checksum(bytes.subspan(offset, padded), pool));
  }
  if (header > size) return;
  store(data + kChecksumAt, engine_file_header_checksum(bytes.first(header)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static bertie::ThreadPool pool(1);
  const size_t room = (size / 64 + 1) * 64;
  const std::shared_ptr<uint8_t> copy(static_cast<uint8_t*>(std::aligned_alloc(64, room)), std::free);
  std::memcpy(copy.get(), data, size);
  if (size == 0 || data[size - 1] % 4 != 3) make_checksums_valid(copy.get(), size, pool);
  try {
    const auto model = bertie::models::parse_engine_model(std::as_bytes(std::span(copy.get(), size)), copy, "fuzz");
    unsigned sum = 0;
    for (size_t i = 0; i < model.network.value_count(); ++i) {
      const auto& constant = model.network.value(static_cast<bertie::ValueId>(i)).constant;
      if (!constant) continue;
      const bertie::Tensor rows = constant->row_major();
      const auto* bytes = static_cast<const uint8_t*>(rows.data.get());
      for (size_t k = 0; k < rows.bytes(); ++k) sum += bytes[k];
    }
    volatile unsigned keep = sum;
    static_cast<void>(keep);
  } catch (const bertie::Error&) {
  }
  return 0;
}
