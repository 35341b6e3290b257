// Errors, log messages and the version: what every other bertie header uses.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#if defined(__GNUC__)
#define BERTIE_API __attribute__((visibility("default")))
#else
#define BERTIE_API
#endif

namespace bertie {

// What a caller can act on. The command line and the server map these to exit and HTTP statuses.
enum class ErrorCode {
  invalid_argument,  // the caller's value is wrong: an unknown name, a shape that does not fit
  not_found,         // a file, tensor or name that should exist does not
  invalid_file,      // a file's bytes are not what its format says
  invalid_text,      // a text cannot be answered: too long, no mask, not UTF-8
  unsupported,       // well-formed, but not something this build or device can do
  limit_exceeded,    // larger than the limits the session was made with
  out_of_memory,
  io,             // the operating system refused
  cancelled,      // the caller asked to stop
  plugin_failed,  // a plugin's own code failed; the message names plugin, op and node
};

// The one exception type for what a caller or a file did wrong. `what()` is one sentence that names
// the file, tensor, field or flag. bertie never prints, aborts or exits by itself.
class BERTIE_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

enum class LogLevel { debug, info, warning };

// Receives every log line, from any thread. The default discards all. Passing nullptr restores it.
using LogCallback = std::function<void(LogLevel, std::string_view)>;
BERTIE_API void set_log_callback(LogCallback callback);

// "0.1.0"
BERTIE_API std::string_view version();

}  // namespace bertie
