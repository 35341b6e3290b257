#include "network/plugin_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "bertie/plugin.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

// Of the ELF header.
constexpr size_t kClass = 4, kOrder = 5, kType = 16, kMachine = 18, kHeader = 20;
constexpr unsigned kSharedObject = 3;

unsigned half_at(std::span<const std::byte> bytes, size_t offset, bool little) {
  const unsigned first = std::to_integer<unsigned>(bytes[offset]), second = std::to_integer<unsigned>(bytes[offset + 1]);
  return little ? first | second << 8 : first << 8 | second;
}

bool is_elf(std::span<const std::byte> bytes) {
  constexpr std::byte kMagic[] = {std::byte{0x7f}, std::byte{'E'}, std::byte{'L'}, std::byte{'F'}};
  return bytes.size() >= kHeader && std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin());
}

std::string machine_name(unsigned machine) {
  switch (machine) {
    case 3: return "x86";
    case 21: return "ppc64";
    case 22: return "s390x";
    case 40: return "arm";
    case 62: return "x86-64";
    case 183: return "aarch64";
    case 243: return "riscv";
    default: return fmt::format("machine {}", machine);
  }
}

std::string read_header(const char* path) {
  std::string header(kHeader, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  header.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return header;
}

// dlerror's sentence without the path, which it may begin with.
std::string loader_error(const std::string& path) {
  const char* error = dlerror();
  std::string text = error ? error : "the system's loader refused it";
  if (text.starts_with(path + ": ")) text.erase(0, path.size() + 2);
  return text;
}

struct Close {
  void operator()(void* library) const { dlclose(library); }
};

}  // namespace

std::string library_fault(std::span<const std::byte> file, std::span<const std::byte> own) {
  if (!is_elf(file)) return "not a shared library";
  const bool little = file[kOrder] == std::byte{1};
  if (is_elf(own)) {
    const bool own_little = own[kOrder] == std::byte{1};
    const unsigned machine = half_at(file, kMachine, little), own_machine = half_at(own, kMachine, own_little);
    if (machine != own_machine || little != own_little || file[kClass] != own[kClass]) {
      const auto bits = [](std::byte elf_class) { return elf_class == std::byte{1} ? 32 : 64; };
      return fmt::format("made for {} of {} bits, this program for {} of {}", machine_name(machine), bits(file[kClass]),
                         machine_name(own_machine), bits(own[kClass]));
    }
  }
  if (half_at(file, kType, little) != kSharedObject) return "not a shared library";
  return "";
}

PluginInfo load_plugin(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status)) fail(ErrorCode::not_found, "plugin '{}': no such file", path);
  if (std::filesystem::is_directory(status)) fail(ErrorCode::invalid_file, "plugin '{}': a folder, not a shared library", path);
  // A name without a slash would be searched for elsewhere.
  const std::string file = std::filesystem::absolute(path).string();
  const std::string header = read_header(file.c_str()), own = read_header("/proc/self/exe");
  if (const std::string fault = library_fault(std::as_bytes(std::span(header)), std::as_bytes(std::span(own))); !fault.empty())
    fail(ErrorCode::invalid_file, "plugin '{}': {}", path, fault);

  std::unique_ptr<void, Close> library(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!library) fail(ErrorCode::invalid_file, "plugin '{}': {}", path, loader_error(file));
  const auto entry = reinterpret_cast<BertiePluginEntry>(dlsym(library.get(), BERTIE_PLUGIN_ENTRY));
  if (!entry) fail(ErrorCode::invalid_file, "plugin '{}': exports no {}: not a bertie plugin", path, BERTIE_PLUGIN_ENTRY);
  const BertiePlugin* plugin = entry();
  // Its code has run: whatever comes of it, the library stays. Loaded once more, it only counts its users.
  (void)library.release();
  if (!plugin) fail(ErrorCode::invalid_file, "plugin '{}': {} gave no description", path, BERTIE_PLUGIN_ENTRY);
  return register_plugin(*plugin, path);
}

}  // namespace bertie
