#include "interrupt.h"

#include <csignal>

namespace bertie::cli {
namespace {
volatile std::sig_atomic_t g_interrupted = 0;
}

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_interrupted = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // without SA_RESTART: a blocked read returns
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit of file size is an error like a full disk
}

bool interrupted() { return g_interrupted != 0; }

}  // namespace bertie::cli
