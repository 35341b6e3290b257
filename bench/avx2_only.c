// A library to preload, which tells a program of no instruction set above AVX2: rivals that ask the CPU itself have no other switch.
//
//   cc -O1 -shared -fPIC -o avx2_only.so bench/avx2_only.c
//   LD_PRELOAD=$PWD/avx2_only.so bench/rivals.py ...
//
// Linux lets CPUID trap (arch_prctl(2), ARCH_CPUID; inherited by threads, not by programs, each of which preloads this again); the
// handler answers what the CPU does, less the features below. Where the CPU does not let it trap, bench/cpuid_to_ud2.py does.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static long let_cpuid(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, on); }

static void answer(uint32_t leaf, uint32_t subleaf, greg_t* registers) {
  uint32_t a = leaf, b, c = subleaf, d;
  let_cpuid(1);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  let_cpuid(0);
  if (leaf == 7 && subleaf == 0) {
    b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 28 | 1u << 30 | 1u << 31);  // AVX-512 F, DQ, IFMA, CD, BW, VL
    c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);               // VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    d &= ~(1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);              // VP2INTERSECT, AMX-BF16, AVX512-FP16, AMX-TILE, AMX-INT8
  }
  if (leaf == 7 && subleaf == 1) {
    a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);  // AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA
    d &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19);  // AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
}

static void on_trap(int signal_number, siginfo_t* information, void* context) {
  (void)information;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* at = (const unsigned char*)registers[REG_RIP];
  if (at[0] != 0x0f || at[1] != (signal_number == SIGILL ? 0x0b : 0xa2)) {  // no CPUID: the program's own fault
    signal(signal_number, SIG_DFL);
    return;
  }
  answer((uint32_t)registers[REG_RAX], (uint32_t)registers[REG_RCX], registers);
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void limit(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGILL, &action, NULL);
  if (let_cpuid(0) != 0) fprintf(stderr, "avx2_only: this CPU does not let CPUID trap: bench/cpuid_to_ud2.py\n");
}
