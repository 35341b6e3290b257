#include "stages.h"

namespace layer_norm {

namespace generic {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);
}
#if defined(LAYER_NORM_X86)
namespace avx2 {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);
}
namespace avx512 {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);
}
#endif

VectorStage best_vector_stage() {
#if defined(LAYER_NORM_X86)
  if (__builtin_cpu_supports("avx512f")) return {"avx512", avx512::normalise_vectors};
  if (__builtin_cpu_supports("avx2")) return {"avx2", avx2::normalise_vectors};  // they all have F16C
#endif
  return {"generic", generic::normalise_vectors};
}

}  // namespace layer_norm
