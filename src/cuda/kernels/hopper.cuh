// Hopper's own instructions (sm_90a): barriers in shared memory, the bulk tensor copy engine, matrix products of a warpgroup.
// PTX ISA 8.0 names them; code that uses them stands inside BERTIE_HOPPER, and is empty for other architectures.
#pragma once

#include <cuda_fp8.h>

#include "cuda/kernels/elements.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BERTIE_HOPPER 1
#endif

namespace bertie::cuda {

#ifdef BERTIE_HOPPER

__device__ inline void init_barrier(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// Makes initialised barriers known to the copy engine.
__device__ inline void fence_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Makes ordinary stores to shared memory known to the copy engine and the matrix units.
__device__ inline void fence_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ inline void arrive_expecting(uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
__device__ inline void wait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\nretry:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra finished;\nbra retry;\nfinished:\n}" ::"r"(
          shared_address(barrier)),
      "r"(parity)
      : "memory");
}
// Elements from `column`, rows from `row` of the map's box, to shared memory; `barrier` counts the bytes.
__device__ inline void copy_box(void* to, const void* map, int column, int row, uint64_t* barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                   shared_address(to)),
               "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(row)
               : "memory");
}

// `bytes` that lie together, a multiple of 16 at addresses that are.
__device__ inline void copy_bytes(void* to, const void* from, int bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
// Into the L2, where it is the memory's own, so that it may be another kernel's result; `bytes` and address as of copy_bytes.
__device__ inline void prefetch_bytes(const void* from, int bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}
// From shared memory to the map's box there; a group of stores is read out of shared memory once wait_stores says so, in order.
__device__ inline void store_box(const void* map, int column, int row, const void* from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
               "r"(shared_address(from)), "r"(column), "r"(row)
               : "memory");
}
__device__ inline void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int kPending>
__device__ inline void wait_stores() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

__device__ inline void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Of all threads of a cluster's blocks; what they stored before they arrived is there after the wait.
__device__ inline void arrive_at_cluster() { asm volatile("barrier.cluster.arrive.aligned;" ::: "memory"); }
__device__ inline void wait_for_cluster() { asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); }
// Four numbers to where `to` is in the shared memory of another block of the cluster.
__device__ inline void store_in_cluster(int32_t* to, int block, int4 numbers) {
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\nst.shared::cluster.v4.b32 [there], {%2, %3, %4, %5};\n}" ::
          "r"(shared_address(to)),
      "r"(block), "r"(numbers.x), "r"(numbers.y), "r"(numbers.z), "r"(numbers.w)
      : "memory");
}
__device__ inline void store_in_cluster(float* to, int block, float4 numbers) {
  store_in_cluster(
      reinterpret_cast<int32_t*>(to), block,
      int4{__float_as_int(numbers.x), __float_as_int(numbers.y), __float_as_int(numbers.z), __float_as_int(numbers.w)});
}

// Registers of each of the warpgroup's threads from here on: a multiple of 8.
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void leave_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
// Four matrices of 8 x 8 elements of 16 bits, of which each lane holds two neighbours as mma.sync has them, to rows of 16 bytes: lane l
// gives the address of row l % 8 of matrix l / 8.
__device__ inline void store_matrices(void* row, const uint32_t (&matrices)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(matrices[0]),
               "r"(matrices[1]), "r"(matrices[2]), "r"(matrices[3])
               : "memory");
}

// The way back.
__device__ inline void load_matrices(const void* row, uint32_t (&matrices)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(shared_address(row))
               : "memory");
}

// Descriptor of a matrix in shared memory. `group`: bytes from eight rows to the next eight; `panel`: bytes between panels of one
// swizzled line's width, where the long way is not along k. `swizzle`: 1 for lines of 128 bytes, 2 for 64.
__device__ inline uint64_t describe(const void* matrix, int group, int panel, int swizzle) {
  return (static_cast<uint64_t>(shared_address(matrix) & 0x3ffff) >> 4) | static_cast<uint64_t>(panel >> 4) << 16 |
         static_cast<uint64_t>(group >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// d[64, n] (+)= a b for n = 32, 64, 96, 128, 192 or 256 and k = 16, of bytes 32; `d` as mma.sync lays rows out: lane / 4 and that + 8 of a warp's 16 rows. Starts the
// product: begin_products before the first, commit_products and wait_products after the last.
template <typename T, int N>
struct WarpgroupProduct;

#define BERTIE_SUM(i) "+f"(d[i])
#define BERTIE_D4(i) BERTIE_SUM(i), BERTIE_SUM(i + 1), BERTIE_SUM(i + 2), BERTIE_SUM(i + 3)
#define BERTIE_D16(i) BERTIE_D4(i), BERTIE_D4(i + 4), BERTIE_D4(i + 8), BERTIE_D4(i + 12)
#define BERTIE_D32(i) BERTIE_D16(i), BERTIE_D16(i + 16)
#define BERTIE_D48(i) BERTIE_D32(i), BERTIE_D16(i + 32)
#define BERTIE_D64(i) BERTIE_D32(i), BERTIE_D32(i + 32)
#define BERTIE_D96(i) BERTIE_D64(i), BERTIE_D32(i + 64)
#define BERTIE_D128(i) BERTIE_D64(i), BERTIE_D64(i + 64)
#define BERTIE_LIST16 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
#define BERTIE_LIST32                                                       \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
#define BERTIE_LIST48                                                                \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47}, "
#define BERTIE_LIST64                                                                \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "

#define BERTIE_LIST96                                                                \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "
#define BERTIE_LIST128                                                                           \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "

#define BERTIE_PRODUCT(TYPE, NAME, N, COUNT, A, B, FLAG, A0, A1, A2, A3, RB)                                                    \
  template <>                                                                                                                   \
  struct WarpgroupProduct<TYPE, N> {                                                                                            \
    /* a: [64, 16] and b: [n, 16], both lines along k, by their descriptors. */                                                 \
    static __device__ inline void shared(float (&d)[COUNT], uint64_t a, uint64_t b, bool add) {                                 \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #FLAG                                                                   \
                   ", 0;\n"                                                                                                     \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME " " BERTIE_LIST##COUNT "%" #A ", %" #B       \
                                                                                                          ", p, 1, 1, 0, 0;\n}" \
                   : BERTIE_D##COUNT(0)                                                                                         \
                   : "l"(a), "l"(b), "r"(static_cast<int>(add)));                                                               \
    }                                                                                                                           \
    /* a: [64, 16] in registers, as mma.sync has it; b: [16, n], lines along n. */                                              \
    static __device__ inline void registers(float (&d)[COUNT], const uint32_t (&a)[4], uint64_t b) {                            \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME " " BERTIE_LIST##COUNT                       \
                   "{%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #RB ", 1, 1, 1, 1;\n"                                          \
                   : BERTIE_D##COUNT(0)                                                                                         \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                                       \
    }                                                                                                                           \
  };
BERTIE_PRODUCT(__half, "f16", 32, 16, 16, 17, 18, 16, 17, 18, 19, 20)
BERTIE_PRODUCT(__half, "f16", 64, 32, 32, 33, 34, 32, 33, 34, 35, 36)
BERTIE_PRODUCT(__half, "f16", 96, 48, 48, 49, 50, 48, 49, 50, 51, 52)
BERTIE_PRODUCT(__half, "f16", 128, 64, 64, 65, 66, 64, 65, 66, 67, 68)
BERTIE_PRODUCT(__half, "f16", 192, 96, 96, 97, 98, 96, 97, 98, 99, 100)
BERTIE_PRODUCT(__half, "f16", 256, 128, 128, 129, 130, 128, 129, 130, 131, 132)
BERTIE_PRODUCT(__nv_bfloat16, "bf16", 32, 16, 16, 17, 18, 16, 17, 18, 19, 20)
BERTIE_PRODUCT(__nv_bfloat16, "bf16", 64, 32, 32, 33, 34, 32, 33, 34, 35, 36)
BERTIE_PRODUCT(__nv_bfloat16, "bf16", 96, 48, 48, 49, 50, 48, 49, 50, 51, 52)
BERTIE_PRODUCT(__nv_bfloat16, "bf16", 128, 64, 64, 65, 66, 64, 65, 66, 67, 68)
BERTIE_PRODUCT(__nv_bfloat16, "bf16", 192, 96, 96, 97, 98, 96, 97, 98, 99, 100)
BERTIE_PRODUCT(__nv_bfloat16, "bf16", 256, 128, 128, 129, 130, 128, 129, 130, 131, 132)

#undef BERTIE_PRODUCT

// Eight bits: e4m3, then integers, whose sums are exact. a: [64, 32] and b: [n, 32], both lines along k, by their descriptors.
#define BERTIE_PRODUCT(TYPE, SUM, NAME, SIGNS, N, COUNT, A, B, FLAG)                                                   \
  template <>                                                                                                          \
  struct WarpgroupProduct<TYPE, N> {                                                                                   \
    static __device__ inline void shared(SUM (&d)[COUNT], uint64_t a, uint64_t b, bool add) {                          \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #FLAG ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k32." NAME \
                   " " BERTIE_LIST##COUNT "%" #A ", %" #B ", p" SIGNS ";\n}"                                           \
                   : BERTIE_D##COUNT(0)                                                                                \
                   : "l"(a), "l"(b), "r"(static_cast<int>(add)));                                                      \
    }                                                                                                                  \
  };
#define BERTIE_PRODUCTS(TYPE, SUM, NAME, SIGNS)               \
  BERTIE_PRODUCT(TYPE, SUM, NAME, SIGNS, 32, 16, 16, 17, 18)  \
  BERTIE_PRODUCT(TYPE, SUM, NAME, SIGNS, 64, 32, 32, 33, 34)  \
  BERTIE_PRODUCT(TYPE, SUM, NAME, SIGNS, 128, 64, 64, 65, 66) \
  BERTIE_PRODUCT(TYPE, SUM, NAME, SIGNS, 192, 96, 96, 97, 98) \
  BERTIE_PRODUCT(TYPE, SUM, NAME, SIGNS, 256, 128, 128, 129, 130)
BERTIE_PRODUCTS(__nv_fp8_e4m3, float, "f32.e4m3.e4m3", ", 1, 1")
#undef BERTIE_SUM
#define BERTIE_SUM(i) "+r"(d[i])
BERTIE_PRODUCTS(int8_t, int32_t, "s32.s8.s8", "")

#undef BERTIE_PRODUCTS
#undef BERTIE_PRODUCT
#undef BERTIE_SUM
#undef BERTIE_LIST16
#undef BERTIE_LIST32
#undef BERTIE_LIST48
#undef BERTIE_LIST64
#undef BERTIE_LIST96
#undef BERTIE_LIST128
#undef BERTIE_D4
#undef BERTIE_D16
#undef BERTIE_D32
#undef BERTIE_D48
#undef BERTIE_D64
#undef BERTIE_D96
#undef BERTIE_D128

// The compiler moves no use of `d` before this.
template <int N>
__device__ inline void hold(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int N>
__device__ inline void hold(int32_t (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

#endif

}  // namespace bertie::cuda
