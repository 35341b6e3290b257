#include "models/family.h"

#include <array>

namespace bertie::models {

std::span<const Family* const> families() {
  static constexpr std::array<const Family*, 8> kFamilies = {&kBert,       &kRoberta, &kXlmRoberta, &kCamembert,
                                                             &kDistilBert, &kAlbert,  &kElectra,    &kMpnet};
  return kFamilies;
}

}  // namespace bertie::models
