// Standard output for data, standard error for everything else.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "bertie/base.h"

namespace bertie::cli {

// Buffered. Throws Error(io) where standard output cannot be written.
void write_line(std::string_view line);
void flush_output();

// "bertie: ...", one line.
void complain(std::string_view message);

// A line for the reader at a terminal or under --verbose.
void note(std::string_view line);
bool stderr_is_terminal();
bool stdout_is_terminal();

}  // namespace bertie::cli
