// Ctrl-C: the first one asks the work to end after the batch it is in, the second one kills.
#pragma once

namespace bertie::cli {

void catch_interrupts();
bool interrupted();

}  // namespace bertie::cli
