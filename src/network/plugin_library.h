// What kind of file a plugin library is, before the system's loader is let near it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace bertie {

// Why a file that begins with these bytes cannot be a shared library for the machine of the ELF file that begins with `own`, as
// the end of a sentence; "" where it can.
std::string library_fault(std::span<const std::byte> file, std::span<const std::byte> own);

}  // namespace bertie
