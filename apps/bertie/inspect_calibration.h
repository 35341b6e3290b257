// What `bertie inspect` shows of a calibration cache.
#pragma once

#include <string>

namespace bertie::cli {

// Whether the file begins as a cache does.
bool is_calibration_file(const std::string& path);

// Throws what Calibration::load throws.
void inspect_calibration(const std::string& path, bool as_json);

}  // namespace bertie::cli
