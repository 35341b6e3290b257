#include "output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace bertie::cli {
namespace {

[[noreturn]] void cannot_write() { fail(ErrorCode::io, "cannot write to standard output: {}", std::strerror(errno)); }

// A message may quote a file name or text that holds line ends.
std::string one_line(std::string_view message) {
  std::string line(message);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return line;
}

}  // namespace

void write_line(std::string_view line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fputc('\n', stdout) == EOF) cannot_write();
}

void flush_output() {
  if (std::fflush(stdout) != 0) cannot_write();
}

void complain(std::string_view message) { note(fmt::format("bertie: {}", one_line(message))); }

void note(std::string_view line) { fmt::print(stderr, "{}\n", line); }

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

}  // namespace bertie::cli
