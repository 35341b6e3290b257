#include "cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <vector>

#include "base/error.h"

namespace bertie::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "libbertie_cuda.so";

// Folders of the file that this code is in (program or libbertie.so), and of its install prefix's libraries.
std::vector<fs::path> folders() {
  std::vector<fs::path> found;
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&folders), &info) == 0 || !info.dli_fname) return found;
  std::error_code error;
  fs::path file = fs::canonical(info.dli_fname, error);
  // A program that was started by its bare name.
  if (error) file = fs::canonical("/proc/self/exe", error);
  if (error) return found;
  const fs::path folder = file.parent_path();
  found = {folder, folder / "lib", folder.parent_path() / "lib"};
  return found;
}

// dlerror's sentence without the path, which it may begin with.
std::string loader_error(const std::string& path) {
  const char* error = dlerror();
  std::string text = error ? error : "the system's loader refused it";
  if (text.starts_with(path + ": ")) text.erase(0, path.size() + 2);
  return text;
}

const BertieCudaApi& load() {
  std::vector<std::string> files;
  if (const char* named = std::getenv("BERTIE_CUDA_LIBRARY"); named && *named) {
    files.push_back(fs::absolute(named).string());
    if (!fs::exists(files.front()))
      fail(ErrorCode::unsupported, "device cuda: BERTIE_CUDA_LIBRARY names '{}': there is no such file", named);
  } else {
    for (const fs::path& folder : folders()) {
      std::error_code ignored;
      if (fs::exists(folder / kFile, ignored)) files.push_back((folder / kFile).string());
    }
    files.emplace_back(kFile);
  }
  const std::string& file = files.front();
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const std::string reason = loader_error(file);
    if (file == kFile) {
      fail(ErrorCode::unsupported,
           "device cuda: {} is neither beside the program nor in its ../lib: build it with the preset cuda (needs the CUDA "
           "toolkit), "
           "or name it in BERTIE_CUDA_LIBRARY",
           kFile);
    }
    fail(ErrorCode::unsupported, "device cuda: '{}' could not be loaded: {}", file, reason);
  }
  // The library stays, whatever comes of it: its code may have run.
  const auto entry = reinterpret_cast<BertieCudaEntry>(dlsym(handle, BERTIE_CUDA_ENTRY));
  const BertieCudaApi* api = entry ? entry() : nullptr;
  if (const std::string fault = api_fault(api, file); !fault.empty()) fail(ErrorCode::unsupported, "device cuda: {}", fault);
  return *api;
}

}  // namespace

std::string cuda_version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

std::string api_fault(const BertieCudaApi* api, const std::string& origin) {
  if (!api) return fmt::format("'{}' is not bertie's CUDA library", origin);
  if (api->abi != BERTIE_CUDA_ABI || api->size != sizeof(BertieCudaApi)) {
    return fmt::format("'{}' has interface {}, this program {}: both must come from one build", origin, api->abi,
                       BERTIE_CUDA_ABI);
  }
  if (api->version != version()) return fmt::format("'{}' is of bertie {}, this program of {}", origin, api->version, version());
  return "";
}

const BertieCudaApi& library() {
  static std::mutex mutex;
  static const BertieCudaApi* api = nullptr;
  const std::lock_guard lock(mutex);
  if (!api) api = &load();
  return *api;
}

}  // namespace bertie::cuda
